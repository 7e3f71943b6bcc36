"""Merging aggregates into the tables by series. Writes only, within the caller's transaction; rows
are taken in key order, so that two writers wait for each other and never deadlock.

Nearly every row is of a COUNT or a SUM: those go without the columns of MAX and LATEST, each of
their columns travels as one text, and PostgreSQL makes the months of the hours. The driver's
encoding of arrays of Decimals and datetimes, twice, cost more than merging the rows.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import asyncpg

from services.domain.aggregate import Aggregate, hour_of, hour_start
from services.domain.period import month_start


class Hour(NamedTuple):
    """One aggregate of a flush; no two are of the same series and hour."""

    series_id: int
    hour: int
    aggregate: Aggregate


Totals = dict[tuple[int, int], Aggregate]  # (series id, first hour of the hour or month)

# Months first: PostgreSQL runs a WITH that nobody reads after the statement itself.
_MERGE_SUMS = """
WITH a AS MATERIALIZED (
    SELECT u.series_id, timestamptz 'epoch' + make_interval(hours => u.hour) AS starts_at,
        u.count, u.total
    FROM unnest($1::text::bigint[], $2::text::int[], $3::text::bigint[], $4::text::numeric[])
      AS u(series_id, hour, count, total)
), hours AS (
    INSERT INTO usage_hour AS held (series_id, starts_at, count, total)
    SELECT a.series_id, a.starts_at, a.count, a.total FROM a
    ON CONFLICT (series_id, starts_at) DO UPDATE SET
        count = held.count + excluded.count, total = held.total + excluded.total
)
INSERT INTO usage_month AS held (series_id, starts_at, count, total)
SELECT a.series_id, date_trunc('month', a.starts_at, 'UTC') AS month, sum(a.count)::bigint,
    sum(a.total)
FROM a GROUP BY a.series_id, month ORDER BY a.series_id, month
ON CONFLICT (series_id, starts_at) DO UPDATE SET
    count = held.count + excluded.count, total = held.total + excluded.total
"""

_MERGE = """
INSERT INTO {table} AS held (series_id, starts_at, count, total, peak,
    latest_at, latest_partition, latest_offset, latest)
SELECT a.series_id, timestamptz 'epoch' + make_interval(hours => a.first_hour), a.count,
    a.total::numeric, a.peak::numeric, a.latest_at, a.latest_partition,
    a.latest_offset, a.latest::numeric
FROM unnest($1::bigint[], $2::int[], $3::bigint[], $4::text[], $5::text[],
    $6::timestamptz[], $7::int[], $8::bigint[], $9::text[])
  AS a(series_id, first_hour, count, total, peak, latest_at, latest_partition, latest_offset,
       latest)
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

# A trigger adds them to the months (schemas/postgres/0009_distinct_months.sql).
_ADD_DISTINCT = """
INSERT INTO usage_distinct (series_id, starts_at, value)
SELECT a.series_id, timestamptz 'epoch' + make_interval(hours => a.first_hour), a.value
FROM unnest($1::bigint[], $2::int[], $3::text[]) AS a(series_id, first_hour, value)
ON CONFLICT DO NOTHING
"""

_NO_LATEST = (None, None, None, None)


@lru_cache(maxsize=100_000)
def _month_of(hour: int) -> int:
    """The first hour of the calendar month of an hour."""
    return hour_of(month_start(hour_start(hour)))


async def merge_hours(connection: asyncpg.Connection, hours: Iterable[Hour]) -> None:
    """Merge into usage_hour and usage_month, and add to usage_distinct what was seen under UNIQUE
    metrics; the domain's merge, in SQL."""
    sums, others = [], []
    for series_id, hour, aggregate in hours:
        if aggregate.peak is None and aggregate.latest is None and not aggregate.distinct:
            sums.append((series_id, hour, aggregate.count, aggregate.total))
        else:
            others.append(Hour(series_id, hour, aggregate))
    # A series is of one metric, so never in both: one order for all writers.
    if sums:
        sums.sort()
        await connection.execute(_MERGE_SUMS, *map(_array, zip(*sums, strict=True)))
    if others:
        totals = {(other.series_id, other.hour): other.aggregate for other in others}
        await _merge_totals(connection, "usage_hour", totals)
        await _merge_totals(connection, "usage_month", _month_totals(totals))
        await _add_distinct(connection, totals)


def _month_totals(hours: Totals) -> Totals:
    """The same usage by calendar month. Changes none of the aggregates it is given."""
    months: Totals = {}
    for (series_id, hour), aggregate in hours.items():
        months.setdefault((series_id, _month_of(hour)), Aggregate()).merge(aggregate)
    return months


async def _merge_totals(connection: asyncpg.Connection, table: str, totals: Totals) -> None:
    ordered = sorted(totals.items(), key=itemgetter(0))
    rows = [_row(*place, total) for place, total in ordered]
    await connection.execute(_MERGE.format(table=table), *_columns(rows))


def _array(numbers: Iterable[object]) -> str:
    """An array of numbers as PostgreSQL reads it."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _row(series: int, first_hour: int, total: Aggregate) -> tuple[object, ...]:
    latest = total.latest
    return (
        series,
        first_hour,
        total.count,
        str(total.total),
        None if total.peak is None else str(total.peak),
        *(
            _NO_LATEST
            if latest is None
            else (latest.occurred_at, latest.partition, latest.offset, str(latest.value))
        ),
    )


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


async def _add_distinct(connection: asyncpg.Connection, hours: Totals) -> None:
    """Add the values seen under UNIQUE metrics."""
    rows = sorted(
        (series, hour, value)
        for (series, hour), aggregate in hours.items()
        for value in aggregate.distinct
    )
    if rows:
        await connection.execute(_ADD_DISTINCT, *_columns(rows))
