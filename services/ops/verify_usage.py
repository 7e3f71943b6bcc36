"""Compares every aggregate, position and rejection in PostgreSQL with what was folded. Rows are
streamed; only the keys not found yet are kept.
"""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.domain.conservation import Projected
from services.domain.reference.numbers import plain_text
from services.domain.reference.usage import EPOCH, Amount, Last, Usage, UsageKey
from services.ops.verify_differences import Differences
from services.ops.verify_fold import NO_METRIC, Folded, Refusals, text_of_reason
from services.runtime.conservation import ROWS_TIMEOUT_S
from services.runtime.json import decode_json

ROWS_AT_ONCE = 5_000

_TOTALS = """
SELECT s.reference, s.metric_id, s.group_values, u.starts_at, u.count, u.total, u.peak,
    u.latest_at, u.latest_partition, u.latest_offset, u.latest
FROM {table} u JOIN usage_series s ON s.id = u.series_id WHERE s.generation = $1
"""
_REFUSALS = """
SELECT partition, metric_id, reason, count(*) FROM rejected_event WHERE generation = $1
GROUP BY 1, 2, 3
"""
_CONFLICTS = """
SELECT partition, raw_offset, first_offset FROM conflicting_event WHERE generation = $1
"""
_FATES = ("counted", "duplicates", "conflicts", "rejected", "unmatched")


class At(NamedTuple):
    """One row: whose, which metric, which group, and the start of its hour or month."""

    reference: str
    metric_id: UUID
    group: tuple[str | None, ...]
    starts_at: datetime

    def __str__(self) -> str:
        group = f", group {list(self.group)}" if self.group else ""
        start = self.starts_at.strftime("%Y-%m-%dT%H:%MZ")
        return f"{self.reference!r}, metric {self.metric_id}{group}, from {start}"


def compare_fates(
    folded: Folded, projected: Mapping[int, Projected], differences: Differences
) -> None:
    """Every counter of every partition."""
    for partition, totals in folded.totals.items():
        for name in _FATES:
            differences.unless_equal(
                f"projection_position, partition {partition}, {name}",
                getattr(totals, name),
                getattr(projected[partition], name),
            )


async def compare_refusals(
    connection: asyncpg.Connection, generation: int, folded: Folded, differences: Differences
) -> None:
    """rejected_event by partition, metric and reason."""
    found: Refusals = Counter()
    for partition, metric_id, reason, count in await connection.fetch(
        _REFUSALS, generation, timeout=ROWS_TIMEOUT_S
    ):
        found[partition, metric_id, text_of_reason(reason)] += count
    for key in sorted(found.keys() | folded.refusals.keys()):
        partition, metric_id, reason = key
        about = "no event" if metric_id == NO_METRIC else f"metric {metric_id}"
        differences.unless_equal(
            f"rejected_event, partition {partition}, {about}, {reason}",
            folded.refusals[key],
            found[key],
        )


async def compare_conflicts(
    connection: asyncpg.Connection, generation: int, folded: Folded, differences: Differences
) -> None:
    """conflicting_event, row by row; needs a transaction."""
    missing = dict(folded.conflicts)
    async for partition, offset, first in connection.cursor(_CONFLICTS, generation):
        where = f"conflicting_event, partition {partition}, raw offset {offset}, first_offset"
        differences.unless_equal(where, missing.pop((partition, offset), None), first)
    for (partition, offset), first in missing.items():
        where = f"conflicting_event, partition {partition}, raw offset {offset}, first_offset"
        differences.add(where, first, None)


def hours_of(usage: Usage) -> dict[At, Amount]:
    """What usage_hour should hold."""
    return {_at(key): amount for key, amount in usage.items()}


def _at(key: UsageKey) -> At:
    return At(key.reference, key.metric_id, key.group, EPOCH + timedelta(hours=key.hour))


def months_of(usage: Usage) -> dict[At, Amount]:
    """What usage_month should hold: the hours of a calendar month added up, one by one."""
    months: dict[At, Amount] = {}
    for key, amount in usage.items():
        at = EPOCH + timedelta(hours=key.hour)
        start = datetime(at.year, at.month, 1, tzinfo=UTC)
        month = months.setdefault(At(*key[:3], start), Amount())
        month.count += amount.count
        month.total += amount.total
        peaks = [peak for peak in (month.peak, amount.peak) if peak is not None]
        month.peak = max(peaks, default=None)
        lasts = [last for last in (month.latest, amount.latest) if last is not None]
        month.latest = max(lasts, key=lambda last: last[:3], default=None)
    return months


async def compare_totals(
    connection: asyncpg.Connection,
    generation: int,
    table: str,
    expected: Mapping[At, Amount],
    differences: Differences,
) -> None:
    """usage_hour or usage_month, row by row; needs a transaction."""
    missing = set(expected)
    async for row in rows_of(connection, _TOTALS.format(table=table), generation):
        at = at_of(row)
        missing.discard(at)
        amount, found = expected.get(at), _found(row)
        if amount is None:
            differences.add(f"{table}, {at}", None, _shown(found))
        elif (amount.count, amount.total, amount.peak, amount.latest) != found:
            wanted = (amount.count, amount.total, amount.peak, amount.latest)
            differences.add(f"{table}, {at}", _shown(wanted), _shown(found))
    for at in missing:
        amount = expected[at]
        wanted = (amount.count, amount.total, amount.peak, amount.latest)
        differences.add(f"{table}, {at}", _shown(wanted), None)


async def rows_of(
    connection: asyncpg.Connection, query: str, generation: int
) -> AsyncIterator[asyncpg.Record]:
    """The rows of a query about a generation; needs a transaction."""
    async for row in connection.cursor(query, generation, prefetch=ROWS_AT_ONCE):
        yield row


def at_of(row: asyncpg.Record) -> At:
    """Of a row with the columns of a series and starts_at."""
    group = tuple(decode_json(row["group_values"]))
    return At(row["reference"], row["metric_id"], group, row["starts_at"].astimezone(UTC))


Held = tuple[int, Fraction, Fraction | None, Last | None]


def _found(row: asyncpg.Record) -> Held:
    last = None
    if row["latest_at"] is not None:
        place = (row["latest_at"], row["latest_partition"], row["latest_offset"])
        last = Last(*place, Fraction(row["latest"]))
    peak = None if row["peak"] is None else Fraction(row["peak"])
    return row["count"], Fraction(row["total"]), peak, last


def _shown(held: Held) -> str:
    count, total, peak, last = held
    parts = [f"count {count}"]
    if total:
        parts.append(f"total {plain_text(total)}")
    if peak is not None:
        parts.append(f"peak {plain_text(peak)}")
    if last is not None:
        place = f"raw offset {last.offset} of partition {last.partition}"
        parts.append(f"latest {plain_text(last.value)} at {last.occurred_at} ({place})")
    return ", ".join(parts)
