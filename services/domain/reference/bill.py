"""The oracle's second fold: from what was used to what is priced. Spans of plans, periods, and
quantities by group, once more and plainly; the prices are in `price`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from services.domain.meter import Aggregation, BillableMetric
from services.domain.plan import Plan
from services.domain.pricing.adjustment import PriceAdjustment
from services.domain.reference.calendar import Days, periods_by_day
from services.domain.reference.credits import Grants, bill_credited
from services.domain.reference.price import (
    Bill,
    ChargeAmount,
    Line,
    TierAmount,
    bill_of,
    bill_period,
)
from services.domain.reference.terms import GroupValues, Terms, Used
from services.domain.reference.usage import EPOCH, Amount, Usage
from services.domain.schedule import BillingCycle, BillingFrequency

__all__ = [
    "Bill",
    "Bounds",
    "ChargeAmount",
    "Days",
    "Held",
    "Line",
    "Span",
    "TierAmount",
    "bill_of",
    "bill_span",
    "days_used",
    "held_by",
    "periods_of",
    "quantity_of",
]


class Bounds(NamedTuple):
    """A period, [start, end), UTC."""

    start: datetime  # inclusive
    end: datetime  # exclusive


@dataclass(frozen=True, slots=True)
class Span:
    """A plan of a customer, when it holds, and what of it is the customer's own. `references`:
    every text by which events name the customer, its id and its aliases."""

    id: UUID
    references: frozenset[str]
    plan: Plan
    starting_on: datetime  # inclusive
    ending_before: datetime | None  # exclusive
    adjustments: tuple[PriceAdjustment, ...] = ()
    overage: Mapping[UUID, Decimal] = field(default_factory=dict)  # own factor by currency
    trial_days: int = 0
    trial_cap: Fraction | None = None


def periods_of(span: Span, until: datetime) -> tuple[Days, ...]:
    """The billing periods of a span; of one without end those that begin by `until`."""
    end = span.ending_before
    if end is None:
        # Beyond the end of every period that has begun.
        end = datetime(max(until, span.starting_on).year + 2, 1, 1, tzinfo=UTC)
    plan = span.plan
    return tuple(
        days
        for days in _periods(
            plan.billing_frequency, plan.billing_cycle, span.starting_on, end, span.trial_days
        )
        if days.start <= until or span.ending_before is not None
    )


@lru_cache(maxsize=10_000)
def _periods(
    frequency: BillingFrequency,
    cycle: BillingCycle,
    begins: datetime,
    ends: datetime,
    trial_days: int,
) -> tuple[Days, ...]:
    """Many customers have the same."""
    return tuple(periods_by_day(frequency, cycle, (begins, ends), trial_days))


def bill_span(
    span: Span,
    periods: tuple[Days, ...],
    place: int,
    held: "Held",
    metrics: "Metrics",
    *,
    grants: Grants = (),
) -> Bill:
    """Price one of the periods of a span. `grants`: those of the customer that may pay for it."""
    days = periods[place]
    reset = max((charge.tier_reset_frequency for charge in span.plan.charges), default=1)
    earlier = [before for before in periods[:place] if not before.trial and not days.trial]
    before = tuple(
        _used(span, Bounds(each.start, each.end), held, metrics)
        for each in earlier[::-1][: reset - 1][::-1]
    )
    terms = Terms(
        number=days.number,
        days=((days.end - days.start).days, days.days_whole),
        adjustments=span.adjustments,
        overage=span.overage,
        trial=days.trial,
        trial_cap=span.trial_cap if days.trial else None,
    )
    edges = {edge for grant, _ in grants for edge in (grant.effective_at, grant.expires_at)}
    ends = [*sorted(edge for edge in edges if days.start < edge < days.end), days.end]
    used = [
        (end, replace(_used(span, Bounds(days.start, end), held, metrics), earlier=before))
        for end in ends
    ]
    if not grants:
        return bill_period(span.plan, used[-1][1], terms)
    return bill_credited(span.plan, used, days.start, terms, grants)


def _used(span: Span, bounds: Bounds, held: "Held", metrics: "Metrics") -> Used:
    quantities: dict[UUID, Fraction] = {}
    groups: dict[tuple[UUID, tuple[str, ...]], Mapping[GroupValues, Fraction]] = {}
    for charge in span.plan.charges:
        if charge.metric_id is None:
            continue
        metric = metrics[charge.metric_id]
        if charge.group_key:
            groups[metric.id, charge.group_key] = groups_of(
                held, span.references, metric, charge.group_key, bounds
            )
        else:
            quantities[metric.id] = quantity_of(
                held, span.references, (metric.id, metric.aggregation), bounds
            )
    return Used(quantities, groups)


def days_used(usage: Usage) -> dict[str, set[datetime]]:
    """By reference, the first instants of the days on which it used anything."""
    days: dict[str, set[datetime]] = {}
    for reference, hour in {(key.reference, key.hour) for key in usage}:
        at = EPOCH + timedelta(hours=hour)
        days.setdefault(reference, set()).add(datetime(at.year, at.month, at.day, tzinfo=UTC))
    return days


Metrics = Mapping[UUID, BillableMetric]
Held = Mapping[tuple[str, UUID], Iterable[tuple[int, GroupValues, Amount]]]
"""(reference, metric id) -> (hour, group, amount), in any order: `Usage` by what an invoice looks
for."""


def held_by(usage: Usage) -> Held:
    """`usage` for `quantity_of`; one pass."""
    held: dict[tuple[str, UUID], list[tuple[int, GroupValues, Amount]]] = {}
    for key, amount in usage.items():
        held.setdefault((key.reference, key.metric_id), []).append((key.hour, key.group, amount))
    return held


def quantity_of(
    held: Held,
    references: Collection[str],
    metric: tuple[UUID, Aggregation],
    period: Bounds,
) -> Fraction:
    """The metered value of a period; 0 where nothing was used."""
    metric_id, aggregation = metric
    every = [
        (hour, amount)
        for reference in references
        for hour, _, amount in held.get((reference, metric_id), ())
    ]
    return _value(every, aggregation, period) or Fraction(0)


def groups_of(
    held: Held,
    references: Collection[str],
    metric: BillableMetric,
    key: tuple[str, ...],
    period: Bounds,
) -> dict[GroupValues, Fraction]:
    """The metered value of each group that was used in a period."""
    names = sorted({name for group_key in metric.group_keys for name in group_key})
    every: dict[GroupValues, list[tuple[int, Amount]]] = {}
    for reference in references:
        for hour, group, amount in held.get((reference, metric.id), ()):
            values = tuple(group[names.index(name)] for name in key)
            every.setdefault(values, []).append((hour, amount))
    found = {
        values: _value(amounts, metric.aggregation, period) for values, amounts in every.items()
    }
    return {values: value for values, value in found.items() if value is not None}


def _value(
    amounts: Iterable[tuple[int, Amount]], aggregation: Aggregation, period: Bounds
) -> Fraction | None:
    """LATEST bills the increase: the last value in the period less the last one before it. None
    where nothing was used in the period."""
    inside: list[Amount] = []
    before: list[Amount] = []
    for hour, amount in amounts:
        at = EPOCH + timedelta(hours=hour)
        if at < period.start:
            before.append(amount)
        elif at < period.end:
            inside.append(amount)
    if not inside:
        return None
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
