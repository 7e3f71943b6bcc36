"""Merging aggregates into the tables by series. Writes only, within the caller's transaction; rows
are taken in key order, so that two writers wait for each other and never deadlock.
"""

from datetime import datetime

import asyncpg

from services.domain.aggregate import Aggregate

Totals = dict[tuple[int, datetime], Aggregate]  # (series id, start of hour or month)

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


async def merge_totals(connection: asyncpg.Connection, table: str, totals: Totals) -> None:
    """Merge into usage_hour or usage_month; the domain's merge, in SQL."""
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


async def add_distinct(connection: asyncpg.Connection, hours: Totals) -> None:
    """Add the values seen under UNIQUE metrics."""
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
