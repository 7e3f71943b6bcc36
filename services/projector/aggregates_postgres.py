"""Merging aggregates into the tables by series. Writes only, within the caller's transaction; rows
are taken in key order, so that two writers wait for each other and never deadlock.

Nearly every row is of a COUNT or a SUM: those go without the columns of MAX and LATEST, and each of
their columns travels as one text. The driver's encoding of an array of Decimals or datetimes cost
several times what PostgreSQL needs to merge the rows.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from operator import itemgetter

import asyncpg

from services.domain.aggregate import Aggregate, hour_of, hour_start
from services.domain.period import month_start

Totals = dict[tuple[int, int], Aggregate]  # (series id, first hour of the hour or month)

_MERGE_SUMS = """
INSERT INTO {table} AS held (series_id, starts_at, count, total)
SELECT a.series_id, timestamptz 'epoch' + make_interval(hours => a.first_hour), a.count, a.total
FROM unnest($1::text::bigint[], $2::text::int[], $3::text::bigint[], $4::text::numeric[])
  AS a(series_id, first_hour, count, total)
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


def month_totals(hours: Totals) -> Totals:
    """The same usage by calendar month. Aggregates that are alone in their month are shared."""
    months: Totals = {}
    merged: set[tuple[int, int]] = set()
    for (series, hour), aggregate in hours.items():
        place = series, _month_of(hour)
        held = months.get(place)
        if held is None:
            months[place] = aggregate
            continue
        if place not in merged:
            merged.add(place)
            months[place] = Aggregate()
            months[place].merge(held)
        months[place].merge(aggregate)
    return months


async def merge_totals(connection: asyncpg.Connection, table: str, totals: Totals) -> None:
    """Merge into usage_hour or usage_month; the domain's merge, in SQL."""
    sums, others = [], []
    for (series, first_hour), total in totals.items():
        if total.peak is None and total.latest is None:
            sums.append((series, first_hour, total.count, total.total))
        else:
            others.append((series, first_hour, total))
    # A series is of one metric, so never in both: one order for all writers.
    if sums:
        sums.sort()
        await connection.execute(
            _MERGE_SUMS.format(table=table), *map(_array, zip(*sums, strict=True))
        )
    if others:
        others.sort(key=itemgetter(0, 1))
        await connection.execute(
            _MERGE.format(table=table), *_columns([_row(*other) for other in others])
        )


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


async def add_distinct(connection: asyncpg.Connection, hours: Totals) -> None:
    """Add the values seen under UNIQUE metrics."""
    rows = sorted(
        (series, hour, value)
        for (series, hour), aggregate in hours.items()
        if aggregate.distinct
        for value in aggregate.distinct
    )
    if rows:
        await connection.execute(_ADD_DISTINCT, *_columns(rows))
