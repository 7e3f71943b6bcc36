"""The projection in PostgreSQL: one transaction a flush, rows taken in key order.

Live flushes take turns. Keys are in one order everywhere all the same, so that whoever shares a row
waits and never deadlocks. All statements take arrays; none is sent per row.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg

from services.domain.aggregate import Aggregate
from services.projector.aggregates_postgres import Hour, merge_hours
from services.projector.conflicts_postgres import add_conflicts
from services.projector.live_postgres import check_kept, share_live
from services.projector.marks_postgres import mark_stale
from services.projector.projection import Flush, Position, PositionMoved
from services.projector.series_cache import SeriesCache, SeriesKey
from services.projector.turns_postgres import wait_for_flush_turn
from services.runtime.clock import utc_now
from services.runtime.failpoint import reach
from services.runtime.json import encode_json
from services.runtime.records import instant_of

# Some 220 bytes each: 130 MB once there are as many.
SERIES_CACHE_MAX = 600_000
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
WHERE p.generation = $14 AND p.partition = a.partition AND p.next_raw_offset = a.expected_raw
  AND p.next_rated_offset = a.expected_rated
"""

_BEGIN = """
INSERT INTO projection_position (generation, partition, first_raw_offset, next_raw_offset,
    next_rated_offset, counted, duplicates, conflicts, rejected, unmatched, ingested_to,
    catalog_version, updated_at)
VALUES ($1, $2, $3, $3, 0, 0, 0, 0, 0, 0, $4, $5, $6)
ON CONFLICT (generation, partition) DO NOTHING
"""

_POSITIONS = """
SELECT partition, next_raw_offset, next_rated_offset FROM projection_position
WHERE partition = ANY($1::int[])
  AND generation = coalesce($2, (SELECT generation FROM live_generation))
"""


# Order of the nesting is fixed by LATERAL, and each level is one probe of an index: the plan is the
# same whatever the statistics say (tests/contract/test_plans.py).
_SERIES = """
SELECT k.number, s.id FROM unnest($1::text[], $2::uuid[], $3::text[]) WITH ORDINALITY
    AS k(reference, metric_id, group_values, number)
CROSS JOIN LATERAL (
    SELECT s.id FROM usage_series s
    WHERE s.generation = $4 AND s.reference = k.reference AND s.metric_id = k.metric_id
        AND s.group_values = k.group_values
    OFFSET 0
) AS s
"""
_NEW_SERIES = """
INSERT INTO usage_series (generation, reference, metric_id, group_values)
SELECT $4, * FROM unnest($1::text[], $2::uuid[], $3::text[])
ON CONFLICT (generation, reference, metric_id, group_values) DO NOTHING
"""


class PostgresProjection:
    """See `services.projector.projection.Projection`.

    Writes the generation it is given, or whichever is live when a flush commits.
    """

    def __init__(self, pool: asyncpg.Pool, generation: int | None = None) -> None:
        self._pool = pool
        self._fixed = generation
        # The generation that `_series` is of; the live one is looked up at each flush.
        self._generation = generation
        self._series = SeriesCache(SERIES_CACHE_MAX)

    async def positions(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See Projection."""
        rows = await self._pool.fetch(_POSITIONS, list(partitions), self._fixed)
        return {row[0]: Position(row[1], row[2]) for row in rows}

    async def apply(self, flush: Flush) -> None:
        """See Projection."""
        generation = self._generation
        if generation is None:
            generation = await self._pool.fetchval("SELECT generation FROM live_generation")
            self._turn_to(generation)
        # Its own variable: a flush beside it may turn to another generation meanwhile.
        while (live := await self._apply(flush, generation)) != generation:
            generation = live
            self._turn_to(generation)

    def _turn_to(self, generation: int) -> None:
        if generation != self._generation:
            self._generation = generation
            self._series.clear()

    async def _apply(self, flush: Flush, generation: int) -> int:
        """Apply to `generation`; returns the one that is live, and applied nothing when that is
        another one."""
        hours = await self._by_series(flush, generation)
        async with self._pool.acquire() as connection, connection.transaction():
            if self._fixed is not None:
                await check_kept(connection, generation)
            else:
                await wait_for_flush_turn(connection)
                live = await share_live(connection)
                if live != generation:
                    return live
            await _advance(connection, flush, generation)
            await merge_hours(connection, hours)
            await _add_rejections(connection, flush, generation)
            await add_conflicts(connection, flush, generation)
            if self._fixed is None:
                await mark_stale(connection, flush)
            reach("before_commit")
        return generation

    async def _by_series(self, flush: Flush, generation: int) -> list[Hour]:
        """Flushes may run side by side, so the answer never relies on what stays in the cache."""
        hours: list[Hour] = []
        unknown: dict[SeriesKey, list[tuple[int, Aggregate]]] = {}
        find = self._series.get if generation == self._generation else _find_none
        for key, aggregate in flush.aggregates.items():
            place = key[:3]
            series_id = find(place)
            if series_id is None:
                unknown.setdefault(place, []).append((key[3], aggregate))
            else:
                hours.append(Hour(series_id, key[3], aggregate))
        if unknown:
            found = await self._find_series(list(unknown), generation)
            for place, usage in unknown.items():
                hours += [Hour(found[place], hour, aggregate) for hour, aggregate in usage]
        return hours

    async def _find_series(self, places: list[SeriesKey], generation: int) -> dict[SeriesKey, int]:
        """Series are made before and outside the transaction: one that stays unused is harmless,
        and their locks are held for a moment only."""
        found = await self._read_series(places, generation)
        missing = sorted((p for p in places if p not in found), key=_in_order)
        if missing:
            await self._pool.execute(_NEW_SERIES, *_series_columns(missing), generation)
            found |= await self._read_series(missing, generation)
        assert len(found) == len(places), "a series that was just made is not there"
        if generation == self._generation:
            for place, series in found.items():
                self._series.add(place, series)
        return found

    async def _read_series(self, places: list[SeriesKey], generation: int) -> dict[SeriesKey, int]:
        rows = await self._pool.fetch(_SERIES, *_series_columns(places), generation)
        return {places[number - 1]: series for number, series in rows}


def _find_none(_: SeriesKey) -> None:
    """What the cache of another generation knows."""


def _series_columns(places: list[SeriesKey]) -> tuple[list[str], list[UUID], list[str]]:
    return (
        [reference for reference, _, _ in places],
        [metric_id for _, metric_id, _ in places],
        [encode_json(group).decode() for _, _, group in places],
    )


def _in_order(place: SeriesKey) -> tuple[str, str, bytes]:
    return place[0], str(place[1]), encode_json(place[2])


async def _advance(connection: asyncpg.Connection, flush: Flush, generation: int) -> None:
    now = utc_now()
    ordered = sorted(flush.advances.items())
    for partition, advance in ordered:
        if advance.expected is None:
            begun = await connection.execute(
                _BEGIN,
                generation,
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
        "SELECT FROM projection_position WHERE generation = $2 AND partition = ANY($1::int[])"
        " ORDER BY partition FOR UPDATE",
        [partition for partition, _ in ordered],
        generation,
    )
    moved = await connection.execute(
        _ADVANCE, *(list(column) for column in zip(*columns, strict=True)), now, generation
    )
    if moved != f"UPDATE {len(ordered)}":
        raise PositionMoved


async def _add_rejections(connection: asyncpg.Connection, flush: Flush, generation: int) -> None:
    if not flush.rejections:
        return
    now = utc_now()
    await connection.executemany(
        "INSERT INTO rejected_event (partition, raw_offset, metric_id, reason, detail, record_key,"
        " record_value, ingested_at, rejected_at, catalog_version, generation)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
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
                generation,
            )
            for partition, catalog_version, rejection in flush.rejections
        ],
    )
