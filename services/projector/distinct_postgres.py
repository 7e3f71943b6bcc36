"""How many distinct values there are under UNIQUE metrics, from PostgreSQL. Reads only.

Values stand by hour and, once each, by calendar month with the first and the last hour that has
them; their number stands beside the month's totals (schemas/postgres/0009_distinct_months.sql). So
what is read does not grow with the hours: one number for one series of a whole month; otherwise
each value of a month once. Only what lies strictly inside a month, as a week does, goes through its
hours.

LATERAL and OFFSET 0: see `quantities_postgres`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import asyncpg

from services.domain.period import Period, month_start, next_month

_PARTS = """
FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::int[])
    AS s(id, starts_at, ends_at, bucket)
"""
MONTH_COUNTS = f"""
SELECT s.bucket, u.distinct_count
{_PARTS}
CROSS JOIN LATERAL (
    SELECT u.distinct_count FROM usage_month u
    WHERE u.series_id = s.id AND u.starts_at = s.starts_at OFFSET 0
) AS u
"""  # noqa: S608 (constants)
# Not in a period is what was last seen before it, of the month that it begins in, and what was
# first seen after it, of the month that it ends in.
MONTH_VALUES = f"""
SELECT s.bucket, count(DISTINCT d.value)
{_PARTS}
CROSS JOIN LATERAL (
    SELECT d.value FROM usage_distinct_month d
    WHERE d.series_id = s.id AND d.starts_at >= date_trunc('month', s.starts_at, 'UTC')
        AND d.starts_at < s.ends_at AND d.last_at >= s.starts_at AND d.first_at < s.ends_at OFFSET 0
) AS d
GROUP BY s.bucket
"""  # noqa: S608 (constants)
HOUR_VALUES = f"""
SELECT s.bucket, count(DISTINCT d.value COLLATE "C")
{_PARTS}
CROSS JOIN LATERAL (
    SELECT d.value FROM usage_distinct d
    WHERE d.series_id = s.id AND d.starts_at >= s.starts_at AND d.starts_at < s.ends_at OFFSET 0
) AS d
GROUP BY s.bucket
"""  # noqa: S608 (constants)


class Bucket(NamedTuple):
    """Series of which the values are counted together, over a period of whole hours."""

    number: int  # the caller's
    series: Sequence[int]
    period: Period


async def count_distinct(
    connection: asyncpg.Connection, buckets: Iterable[Bucket]
) -> dict[int, Decimal]:
    """By the number of a bucket, how many distinct values it has; absent where there are none."""
    by_query: dict[str, list[Bucket]] = {}
    for bucket in buckets:
        # A reference may have left its customer since its usage was seen.
        if bucket.series:
            by_query.setdefault(query_of(bucket), []).append(bucket)
    found: dict[int, Decimal] = {}
    for query, own in by_query.items():
        rows = await connection.fetch(query, *_columns(own))
        found.update((number, Decimal(count)) for number, count in rows)
    return found


def query_of(bucket: Bucket) -> str:
    """The cheapest query that is exact."""
    start, end = bucket.period.start, bucket.period.end
    month = Period(month_start(start), next_month(month_start(start)))
    if bucket.period == month and len(bucket.series) == 1:
        return MONTH_COUNTS
    inside = month.start < start and end < month.end
    return HOUR_VALUES if inside else MONTH_VALUES


def _columns(
    buckets: Iterable[Bucket],
) -> tuple[list[int], list[datetime], list[datetime], list[int]]:
    parts = [
        (series_id, bucket.period.start, bucket.period.end, bucket.number)
        for bucket in buckets
        for series_id in bucket.series
    ]
    ids, starts, ends, numbers = zip(*parts, strict=True)
    return list(ids), list(starts), list(ends), list(numbers)
