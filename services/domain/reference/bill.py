"""The oracle's second fold: from what was used to what is priced. Spans of plans, months and
quantities, once more and plainly; the prices are in `price`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from services.domain.meter import Aggregation
from services.domain.plan import Plan
from services.domain.reference.price import Bill, ChargeAmount, Line, TierAmount, bill_of
from services.domain.reference.usage import EPOCH, Amount, Usage

__all__ = [
    "Bill",
    "Bounds",
    "ChargeAmount",
    "Held",
    "Line",
    "Span",
    "TierAmount",
    "bill_of",
    "held_by",
    "months_used",
    "period_of",
    "quantity_of",
]


class Bounds(NamedTuple):
    """A period, [start, end), UTC."""

    start: datetime  # inclusive
    end: datetime  # exclusive


@dataclass(frozen=True, slots=True)
class Span:
    """A plan of a customer and when it holds. `references`: every text by which events name the
    customer, its id and its aliases."""

    id: UUID
    references: frozenset[str]
    plan: Plan
    starting_on: datetime  # inclusive
    ending_before: datetime | None  # exclusive


def period_of(span: Span, month: datetime) -> Bounds | None:
    """The part of the calendar month of `month` in which the span holds; None when none is."""
    first = datetime(month.year, month.month, 1, tzinfo=UTC)
    after = (first + timedelta(days=32)).replace(day=1)
    end = after if span.ending_before is None or span.ending_before > after else span.ending_before
    start = span.starting_on if span.starting_on > first else first
    return Bounds(start, end) if start < end else None


def months_used(usage: Usage) -> dict[str, set[datetime]]:
    """By reference, the first instants of the calendar months in which it used anything."""
    months: dict[str, set[datetime]] = {}
    for reference, hour in {(key.reference, key.hour) for key in usage}:
        at = EPOCH + timedelta(hours=hour)
        months.setdefault(reference, set()).add(datetime(at.year, at.month, 1, tzinfo=UTC))
    return months


Held = Mapping[tuple[str, UUID], Iterable[tuple[int, Amount]]]
"""(reference, metric id) -> (hour, amount), in any order: `Usage` by what an invoice looks for."""


def held_by(usage: Usage) -> Held:
    """`usage` for `quantity_of`; one pass."""
    held: dict[tuple[str, UUID], list[tuple[int, Amount]]] = {}
    for key, amount in usage.items():
        held.setdefault((key.reference, key.metric_id), []).append((key.hour, amount))
    return held


def quantity_of(
    held: Held,
    references: Collection[str],
    metric: tuple[UUID, Aggregation],
    period: Bounds,
) -> Fraction:
    """The metered value of a period; 0 where nothing was used.

    LATEST bills the increase: the last value in the period less the last one before it, and
    nothing when the period has none.
    """
    metric_id, aggregation = metric
    inside: list[Amount] = []
    before: list[Amount] = []
    for reference in references:
        for hour, amount in held.get((reference, metric_id), ()):
            at = EPOCH + timedelta(hours=hour)
            if at < period.start:
                before.append(amount)
            elif at < period.end:
                inside.append(amount)
    match aggregation:
        case Aggregation.COUNT:
            return Fraction(sum(amount.count for amount in inside))
        case Aggregation.SUM:
            return sum((amount.total for amount in inside), Fraction(0))
        case Aggregation.MAX:
            peaks = [amount.peak for amount in inside if amount.peak is not None]
            return max(peaks, default=Fraction(0))
        case Aggregation.UNIQUE:
            return Fraction(len(set[str]().union(*(amount.distinct for amount in inside))))
        case Aggregation.LATEST:
            now, then = _last(inside), _last(before)
            return Fraction(0) if now is None else now - (then or Fraction(0))


def _last(amounts: Iterable[Amount]) -> Fraction | None:
    latest = [amount.latest for amount in amounts if amount.latest is not None]
    return max(latest, key=lambda last: last[:3]).value if latest else None
