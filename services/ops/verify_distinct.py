"""Compares the values seen under UNIQUE metrics, by hour and by month, with what was folded. Looks
only.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import asyncpg

from services.domain.period import month_start
from services.domain.reference.usage import Amount
from services.ops.verify_differences import Differences
from services.ops.verify_usage import At, at_of, rows_of

_HOURS = """
SELECT s.reference, s.metric_id, s.group_values, u.starts_at, u.value
FROM usage_distinct u JOIN usage_series s ON s.id = u.series_id WHERE s.generation = $1
"""
_MONTHS = """
SELECT s.reference, s.metric_id, s.group_values, u.starts_at, u.value, u.first_at, u.last_at
FROM usage_distinct_month u JOIN usage_series s ON s.id = u.series_id WHERE s.generation = $1
"""
_COUNTS = """
SELECT s.reference, s.metric_id, s.group_values, u.starts_at, u.distinct_count
FROM usage_month u JOIN usage_series s ON s.id = u.series_id
WHERE s.generation = $1 AND u.distinct_count <> 0
"""
_Seen = tuple[datetime, datetime]  # the first and the last hour


async def compare_distinct(
    connection: asyncpg.Connection,
    generation: int,
    hours: Mapping[At, Amount],
    differences: Differences,
) -> None:
    """usage_distinct and usage_distinct_month, value by value, and their number in usage_month;
    needs a transaction. `hours`: what usage_hour should hold."""
    missing = {(at, value) for at, amount in hours.items() for value in amount.distinct}
    months = _months_of(missing)
    counts = Counter(at for at, _ in months)
    async for row in rows_of(connection, _HOURS, generation):
        at = at_of(row)
        if (at, row["value"]) in missing:
            missing.remove((at, row["value"]))
        else:
            differences.add(f"usage_distinct, {at}", None, repr(row["value"]))
    for at, value in missing:
        differences.add(f"usage_distinct, {at}", repr(value), None)
    async for row in rows_of(connection, _MONTHS, generation):
        at, value = at_of(row), row["value"]
        where = f"usage_distinct_month, {at}, {value!r}"
        differences.unless_equal(where, months.pop((at, value), None), (row[-2], row[-1]))
    for (at, value), seen in months.items():
        differences.add(f"usage_distinct_month, {at}, {value!r}", seen, None)
    async for row in rows_of(connection, _COUNTS, generation):
        at = at_of(row)
        differences.unless_equal(f"usage_month, {at}, distinct_count", counts.pop(at, 0), row[-1])
    for at, count in counts.items():
        differences.add(f"usage_month, {at}, distinct_count", count, 0)


def _months_of(hours: set[tuple[At, str]]) -> dict[tuple[At, str], _Seen]:
    months: dict[tuple[At, str], _Seen] = {}
    for at, value in hours:
        place = at._replace(starts_at=month_start(at.starts_at)), value
        first, last = months.get(place, (at.starts_at, at.starts_at))
        months[place] = min(first, at.starts_at), max(last, at.starts_at)
    return months
