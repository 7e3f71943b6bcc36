"""The projection in PostgreSQL: one transaction a flush, rows taken in key order.

Keys in one order everywhere: two projectors that share a customer wait for each other and never
deadlock. All statements take arrays; none is sent per row.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from services.domain.aggregate import Aggregate, AggregateKey, hour_start
from services.domain.period import month_start
from services.projector.projection import Flush, Position, PositionMoved
from services.runtime.clock import utc_now
from services.runtime.failpoint import reach
from services.runtime.json import encode_json
from services.runtime.records import instant_of

SeriesKey = tuple[str, UUID, str]  # reference, metric id, group values as JSON
Totals = dict[tuple[int, datetime], Aggregate]  # (series id, start of hour or month)

# Series ids are few and for ever; past this many the cache starts anew.
SERIES_CACHE_MAX = 500_000
_NO_METRIC = UUID(int=0)

_ADVANCE = """
UPDATE projection_position p SET
    next_raw_offset = a.next_raw, next_rated_offset = a.next_rated,
    counted = p.counted + a.counted, duplicates = p.duplicates + a.duplicates,
    conflicts = p.conflicts + a.conflicts, rejected = p.rejected + a.rejected,
    unmatched = p.unmatched + a.unmatched, ingested_to = a.ingested_to,
    catalog_version = a.catalog_version, updated_at = $13
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::timestamptz[],
            $12::bigint[])
  AS a(partition, expected_raw, expected_rated, next_raw, next_rated, counted, duplicates,
       conflicts, rejected, unmatched, ingested_to, catalog_version)
WHERE p.partition = a.partition AND p.next_raw_offset = a.expected_raw
  AND p.next_rated_offset = a.expected_rated
"""

_BEGIN = """
INSERT INTO projection_position (partition, first_raw_offset, next_raw_offset, next_rated_offset,
    counted, duplicates, conflicts, rejected, unmatched, ingested_to, catalog_version, updated_at)
VALUES ($1, $2, $2, 0, 0, 0, 0, 0, 0, $3, $4, $5)
ON CONFLICT (partition) DO NOTHING
"""

_MERGE = """
INSERT INTO {table} AS held (series_id, starts_at, count, total, peak,
    latest_at, latest_partition, latest_offset, latest)
SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::numeric[], $5::numeric[],
    $6::timestamptz[], $7::int[], $8::bigint[], $9::numeric[])
ON CONFLICT (series_id, starts_at) DO UPDATE SET
    count = held.count + excluded.count,
    total = held.total + excluded.total,
    peak = greatest(held.peak, excluded.peak),
    (latest_at, latest_partition, latest_offset, latest) = (SELECT
        CASE WHEN newer THEN excluded.latest_at ELSE held.latest_at END,
        CASE WHEN newer THEN excluded.latest_partition ELSE held.latest_partition END,
        CASE WHEN newer THEN excluded.latest_offset ELSE held.latest_offset END,
        CASE WHEN newer THEN excluded.latest ELSE held.latest END
        FROM (SELECT held.latest_at IS NULL OR (excluded.latest_at IS NOT NULL AND
            (excluded.latest_at, excluded.latest_partition, excluded.latest_offset)
            > (held.latest_at, held.latest_partition, held.latest_offset)) AS newer) AS compared)
"""

_STALE = """
INSERT INTO stale_draft (reference, month) SELECT * FROM unnest($1::text[], $2::date[])
"""


class PostgresProjection:
    """See `services.projector.projection.Projection`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._series: dict[SeriesKey, int] = {}

    async def positions(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See Projection."""
        rows = await self._pool.fetch(
            "SELECT partition, next_raw_offset, next_rated_offset FROM projection_position"
            " WHERE partition = ANY($1::int[])",
            list(partitions),
        )
        return {row[0]: Position(row[1], row[2]) for row in rows}

    async def apply(self, flush: Flush) -> None:
        """See Projection."""
        keys = {key: _series_key(key) for key in flush.aggregates}
        await self._know_series(keys.values())
        hours: Totals = {}
        months: Totals = {}
        for key, aggregate in flush.aggregates.items():
            series, start = self._series[keys[key]], hour_start(key.hour)
            hours[series, start] = aggregate
            months.setdefault((series, month_start(start)), Aggregate()).merge(aggregate)
        async with self._pool.acquire() as connection, connection.transaction():
            await _advance(connection, flush)
            await _merge(connection, "usage_hour", hours)
            await _merge(connection, "usage_month", months)
            await _add_distinct(connection, hours)
            await _add_rejections(connection, flush)
            await _mark_stale(connection, flush)
            reach("before_commit")

    async def _know_series(self, keys: Iterable[SeriesKey]) -> None:
        """Series are made before and outside the transaction: one that stays unused is harmless,
        and their locks are held for a moment only."""
        if len(self._series) > SERIES_CACHE_MAX:
            self._series.clear()
        unknown = sorted({key for key in keys if key not in self._series}, key=_in_order)
        if not unknown:
            return
        columns = [list(column) for column in zip(*unknown, strict=True)]
        await self._pool.execute(
            "INSERT INTO usage_series (reference, metric_id, group_values)"
            " SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[])"
            " ON CONFLICT (reference, metric_id, group_values) DO NOTHING",
            *columns,
        )
        rows = await self._pool.fetch(
            "SELECT s.id, s.reference, s.metric_id, s.group_values FROM usage_series s"
            " JOIN unnest($1::text[], $2::uuid[], $3::text[]) AS k(r, m, g)"
            " ON s.reference = k.r AND s.metric_id = k.m AND s.group_values = k.g",
            *columns,
        )
        for row in rows:
            self._series[row[1], row[2], row[3]] = row[0]


def _series_key(key: AggregateKey) -> SeriesKey:
    return key.reference, key.metric_id, encode_json(key.group).decode()


def _in_order(key: SeriesKey) -> tuple[str, str, str]:
    return key[0], str(key[1]), key[2]


async def _advance(connection: asyncpg.Connection, flush: Flush) -> None:
    now = utc_now()
    ordered = sorted(flush.advances.items())
    for partition, advance in ordered:
        if advance.expected is None:
            begun = await connection.execute(
                _BEGIN,
                partition,
                advance.first_raw,
                advance.ingested_to,
                advance.catalog_version,
                now,
            )
            if begun != "INSERT 0 1":
                raise PositionMoved
    columns = [
        (
            partition,
            a.first_raw if a.expected is None else a.expected.next_raw,
            0 if a.expected is None else a.expected.next_rated,
            a.next_raw,
            a.next_rated,
            a.counted,
            a.duplicates,
            a.conflicts,
            a.rejected,
            a.unmatched,
            a.ingested_to,
            a.catalog_version,
        )
        for partition, a in ordered
    ]
    # Lock in order first: UPDATE ... FROM unnest takes rows in whatever order the plan has.
    await connection.execute(
        "SELECT FROM projection_position WHERE partition = ANY($1::int[])"
        " ORDER BY partition FOR UPDATE",
        [partition for partition, _ in ordered],
    )
    moved = await connection.execute(
        _ADVANCE, *(list(column) for column in zip(*columns, strict=True)), now
    )
    if moved != f"UPDATE {len(ordered)}":
        raise PositionMoved


async def _merge(connection: asyncpg.Connection, table: str, totals: Totals) -> None:
    if not totals:
        return
    rows = [
        (
            series,
            start,
            total.count,
            total.total,
            total.peak,
            *(
                (None, None, None, None)
                if total.latest is None
                else (
                    total.latest.occurred_at,
                    total.latest.partition,
                    total.latest.offset,
                    total.latest.value,
                )
            ),
        )
        for (series, start), total in sorted(totals.items(), key=lambda item: item[0])
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    await connection.execute(_MERGE.format(table=table), *columns)


async def _add_distinct(connection: asyncpg.Connection, hours: Totals) -> None:
    rows = sorted(
        (series, start, value)
        for (series, start), aggregate in hours.items()
        for value in aggregate.distinct
    )
    if rows:
        await connection.execute(
            "INSERT INTO usage_distinct (series_id, starts_at, value)"
            " SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::text[])"
            " ON CONFLICT DO NOTHING",
            *(list(column) for column in zip(*rows, strict=True)),
        )


async def _add_rejections(connection: asyncpg.Connection, flush: Flush) -> None:
    if not flush.rejections:
        return
    now = utc_now()
    await connection.executemany(
        "INSERT INTO rejected_event (partition, raw_offset, metric_id, reason, detail, record_key,"
        " record_value, ingested_at, rejected_at, catalog_version)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        [
            (
                partition,
                rejection.offset,
                rejection.metric_id or _NO_METRIC,
                rejection.reason,
                rejection.detail,
                rejection.key,
                rejection.value,
                instant_of(rejection.ingested_at_ms),
                now,
                catalog_version,
            )
            for partition, catalog_version, rejection in flush.rejections
        ],
    )


async def _mark_stale(connection: asyncpg.Connection, flush: Flush) -> None:
    touched = {(key.reference, month_start(hour_start(key.hour))) for key in flush.aggregates}
    if touched:
        await connection.execute(
            _STALE,
            [reference for reference, _ in touched],
            [month.date() for _, month in touched],
        )
