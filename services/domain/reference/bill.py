"""The oracle's second fold: from what was used to priced invoices. Months, quantities, conversion,
tiers and the one rounding, once more and plainly.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple
from uuid import UUID

from services.domain.meter import Aggregation
from services.domain.plan import Charge, Plan, RoundingBehavior, Tier, UnitConversion
from services.domain.reference.usage import EPOCH, Amount, Usage

CONVERTED_PLACES = 20


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


class TierAmount(NamedTuple):
    """The part of a quantity that one tier prices."""

    starts_after: Fraction
    quantity: Fraction
    price: Fraction
    subtotal: Fraction


class ChargeAmount(NamedTuple):
    """One charge of an invoice."""

    charge_id: UUID
    quantity: Fraction
    tiers: tuple[TierAmount, ...]
    subtotal: Fraction


class Line(NamedTuple):
    """One product of an invoice."""

    product_id: UUID
    charges: tuple[ChargeAmount, ...]
    total: Fraction


class Bill(NamedTuple):
    """One invoice. `total` is the subtotal, rounded once."""

    lines: tuple[Line, ...]
    subtotal: Fraction
    total: Fraction


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


def bill_of(plan: Plan, quantities: Mapping[UUID, Fraction]) -> Bill:
    """Price the metered values (by metric; absent is 0) of one period."""
    products: dict[UUID, list[ChargeAmount]] = {}
    for charge in plan.charges:
        amount = _charge(charge, quantities.get(charge.metric_id, Fraction(0)))
        products.setdefault(charge.product_id, []).append(amount)
    lines = tuple(
        Line(product_id, tuple(charges), sum((c.subtotal for c in charges), Fraction(0)))
        for product_id, charges in products.items()
    )
    subtotal = sum((line.total for line in lines), Fraction(0))
    return Bill(lines, subtotal, half_away(subtotal, plan.unit.decimal_places))


def _charge(charge: Charge, metered: Fraction) -> ChargeAmount:
    quantity = _converted(metered, charge.unit_conversion)
    tiers = tuple(_tiers(quantity, charge.tiers))
    subtotal = sum((tier.subtotal for tier in tiers), Fraction(0))
    return ChargeAmount(charge.id, quantity, tiers, subtotal)


def _converted(metered: Fraction, conversion: UnitConversion | None) -> Fraction:
    if conversion is None:
        return metered
    exact = metered / Fraction(conversion.division_factor)
    if conversion.rounding is RoundingBehavior.FLOOR:
        return Fraction(floor(exact))
    if conversion.rounding is RoundingBehavior.CEILING:
        return Fraction(ceil(exact))
    return half_away(exact, CONVERTED_PLACES)


def _tiers(quantity: Fraction, tiers: tuple[Tier, ...]) -> Iterator[TierAmount]:
    """Every unit at the price of the tier it falls in: (0, 100], (100, 1000], (1000, ...). The
    first tier has a line whatever the quantity, and takes all of one below zero."""
    starts = [Fraction(tier.starts_after) for tier in tiers]
    for index, tier in enumerate(tiers):
        if index and quantity <= starts[index]:
            return
        following = starts[index + 1] if index + 1 < len(tiers) else None
        top = quantity if following is None or quantity < following else following
        part = top - (starts[index] if index else Fraction(0))
        price = Fraction(tier.price)
        yield TierAmount(starts[index], part, price, part * price)


def half_away(value: Fraction, places: int) -> Fraction:
    """Rounded to so many decimal places, the half away from zero."""
    scale = Fraction(10) ** places
    whole = floor(abs(value) * scale + Fraction(1, 2))
    return (whole if value >= 0 else -whole) / scale
