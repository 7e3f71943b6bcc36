"""The oracle's prices: one period of a plan as fractions. Ramps, a customer's own prices, unit
conversion, blocks, tiers, days, percentages, minimums, trial, credits, currency and the one
rounding; written down as they are meant and not as they are computed fast.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple
from uuid import UUID

from services.domain.money import CreditType
from services.domain.plan import Charge, ChargeType, Plan, RoundingBehavior, Tiering
from services.domain.reference.lines import (
    NOTHING,
    Amounts,
    ChargeAmount,
    Line,
    TierAmount,
    lines_of_product,
)
from services.domain.reference.numbers import half_away
from services.domain.reference.proration import QUANTITY_PLACES, prorated
from services.domain.reference.ramps import Price, prices_of, quantity_of_fixed, steps_of
from services.domain.reference.terms import GroupValues, Terms, Used

__all__ = ["Bill", "ChargeAmount", "Line", "TierAmount", "bill_of", "bill_period", "lines_of"]


class Conversion(NamedTuple):
    """What was due in the pricing unit, as a currency."""

    quantity: Fraction
    factor: Fraction
    unit: CreditType
    adjustments: int  # how many come before it


@dataclass(frozen=True, slots=True)
class Bill:
    """One invoice. `total` is what is due, rounded once."""

    lines: tuple[Line, ...]
    subtotal: Fraction
    total: Fraction
    due: Fraction
    adjustments: tuple[tuple[str, Fraction], ...] = ()  # (name, amount) in order
    conversion: Conversion | None = None
    grants: Mapping[int, UUID] = field(default_factory=dict)  # by place in `adjustments`


def bill_of(plan: Plan, quantities: Mapping[UUID, Fraction]) -> Bill:
    """Price the metered values (by metric; absent is 0) of one whole period."""
    return bill_period(plan, Used(quantities), Terms())


def bill_period(plan: Plan, used: Used, terms: Terms) -> Bill:
    """Price one period under its terms."""
    lines = lines_of(plan, used, terms)
    subtotal = sum((line.total for line in lines), NOTHING)
    due, places = subtotal, plan.unit.decimal_places
    adjustments: list[tuple[str, Fraction]] = []
    spend = subtotal
    if terms.trial:
        free = subtotal if terms.trial_cap is None else min(terms.trial_cap, subtotal)
        adjustments.append(("Trial", -max(free, NOTHING)))
        spend -= max(free, NOTHING)
    minimums = [] if terms.trial else steps_of(plan.minimums, terms.number)
    least = spend
    for minimum in minimums:
        if minimum.unit == plan.unit and minimum.value > spend:
            adjustments.append((minimum.name, Fraction(minimum.value) - spend))
            least += Fraction(minimum.value) - spend
    grants = {len(adjustments) + place: each[2] for place, each in enumerate(terms.credits)}
    adjustments += [(name, -amount) for name, amount, _ in terms.credits]
    due += sum((amount for _, amount in adjustments), NOTHING)
    conversion = None
    for rate in steps_of(plan.overage_rates, terms.number):
        if rate.unit != plan.unit:
            continue
        factor = Fraction(terms.overage.get(rate.fiat.id, rate.to_fiat_conversion_factor))
        conversion = Conversion(due, factor, rate.fiat, len(adjustments))
        due, places = due * factor, rate.fiat.decimal_places
        for minimum in minimums:
            if minimum.unit == rate.fiat and minimum.value > least * factor:
                lacking = Fraction(minimum.value) - least * factor
                adjustments.append((minimum.name, lacking))
                due += lacking
    total = half_away(due, places)
    return Bill(lines, subtotal, total, due, tuple(adjustments), conversion, grants)


def lines_of(plan: Plan, used: Used, terms: Terms, period: Used | None = None) -> tuple[Line, ...]:
    """Every product, in order of its first charge; within it by group. `period`: all that is used
    in the period, of which `used` is the part up to some instant."""
    charges = steps_of(plan.charges, terms.number)
    if terms.trial:
        charges = [charge for charge in charges if charge.charge_type is ChargeType.USAGE]
    final = {} if period is None else _amounts(plan, charges, (period, period), terms, {})
    amounts = _amounts(plan, charges, (used, period or used), terms, final)
    return tuple(
        line
        for product_id in dict.fromkeys(charge.product_id for charge in charges)
        for line in lines_of_product(product_id, charges, amounts)
    )


def _amounts(
    plan: Plan, charges: list[Charge], used: tuple[Used, Used], terms: Terms, final: Amounts
) -> Amounts:
    """By place of a charge. `used`: what is priced, and what is used in all of the period; `final`:
    the amounts of all of it, where that is more; with none, what is priced is all."""
    amounts: dict[int, dict[GroupValues, ChargeAmount]] = {
        place: {(): amount} for place, amount in _fixed(charges, terms).items()
    }
    for kind in (ChargeType.USAGE, ChargeType.COMPOSITE, ChargeType.MINIMUM):
        for place, charge in enumerate(charges):
            if charge.charge_type is kind:
                prices = prices_of(charge, terms.adjustments, terms.number)
                if kind is ChargeType.USAGE:
                    amounts[place] = dict(_usage(charge, prices, *used, terms))
                else:
                    others = _base(plan, charges, place)
                    base, in_all = _sum(amounts, others), _sum(final or amounts, others)
                    if kind is ChargeType.COMPOSITE:
                        tiers = _tiers(charge, prices, NOTHING, base, in_all)
                        amounts[place] = {(): _charged(charge, base, tiers)}
                    else:
                        # Before the end nobody knows what lacks.
                        lacking = NOTHING if final else max(prices[0].value - base, NOTHING)
                        amounts[place] = {(): _minimum(charge, lacking)}
    return amounts


def _sum(amounts: Amounts, places: Iterable[int]) -> Fraction:
    every = (amount.subtotal for place in places for amount in amounts[place].values())
    return sum(every, NOTHING)


def _base(plan: Plan, charges: list[Charge], place: int) -> list[int]:
    """Which charges a composite or a minimum looks at."""
    looking = charges[place]
    minimum = looking.charge_type is ChargeType.MINIMUM
    named = {
        number
        for wanted in looking.base_charge_ids
        for number, charge in enumerate(charges)
        if charge.id == wanted or _superseded_by(charge, wanted, plan, charges)
    }
    found = []
    for number, charge in enumerate(charges):
        if charge.charge_type is ChargeType.MINIMUM:
            continue
        if charge.charge_type is ChargeType.COMPOSITE and not minimum:
            continue
        if looking.base_charge_ids or looking.base_product_ids:
            wanted = number in named or charge.product_id in looking.base_product_ids
        else:
            wanted = not minimum or charge.product_id == looking.product_id
        if wanted:
            found.append(number)
    return found


def _superseded_by(charge: Charge, wanted: UUID, plan: Plan, charges: list[Charge]) -> bool:
    """Whether a charge holds in place of the one that is wanted, which does not hold."""
    if any(each.id == wanted for each in charges):
        return False
    return any(
        (each.product_id, each.name) == (charge.product_id, charge.name)
        for each in plan.charges
        if each.id == wanted
    )


def _usage(
    charge: Charge, prices: list[Price], used: Used, period: Used, terms: Terms
) -> Iterator[tuple[GroupValues, ChargeAmount]]:
    window = (
        terms.number - terms.number // charge.tier_reset_frequency * charge.tier_reset_frequency
    )
    before = list(used.earlier)[::-1][:window]
    found, in_all = (_metered(charge, each) for each in (used, period))
    for values, metered in found.items():
        earlier = [_metered(charge, each).get(values, NOTHING) for each in before]
        start = sum((_priced_quantity(charge, value) for value in earlier), NOTHING)
        quantity = _priced_quantity(charge, metered)
        reached = start + _priced_quantity(charge, in_all.get(values, NOTHING))
        tiers = _tiers(charge, prices, start, start + quantity, reached)
        yield values, _charged(charge, quantity, tiers)


def _metered(charge: Charge, used: Used) -> Mapping[GroupValues, Fraction]:
    assert charge.metric_id is not None
    if charge.group_key:
        return used.groups.get((charge.metric_id, charge.group_key), {})
    return {(): used.quantities.get(charge.metric_id, NOTHING)}


def _priced_quantity(charge: Charge, metered: Fraction) -> Fraction:
    """Converted, then counted in blocks."""
    quantity = metered
    conversion = charge.unit_conversion
    if conversion is not None:
        quantity = metered / Fraction(conversion.division_factor)
        if conversion.rounding is RoundingBehavior.FLOOR:
            quantity = Fraction(floor(quantity))
        elif conversion.rounding is RoundingBehavior.CEILING:
            quantity = Fraction(ceil(quantity))
        else:
            quantity = half_away(quantity, QUANTITY_PLACES)
    if charge.package_size is not None:
        quantity = Fraction(ceil(quantity / Fraction(charge.package_size)))
    return quantity


def _tiers(
    charge: Charge,
    prices: list[Price],
    start: Fraction,
    end: Fraction,
    reached: Fraction | None = None,
) -> list[TierAmount]:
    """What lies between two marks of the quantity, tier by tier; taken back where it falls. By
    volume, the mark that the period has reached, or else the end, has the price of all."""
    if charge.tiering is Tiering.VOLUME:
        mark = end if reached is None else reached
        below = [price for price in prices if price.starts_after < mark] or prices[:1]
        return [_tier(below[-1], end - start)]
    sign = 1 if end >= start else -1
    low, high = sorted((start, end))
    ends = [price.starts_after for price in prices[1:]]
    found = []
    for number, price in enumerate(prices):
        floor_of_tier = low if number == 0 else max(low, price.starts_after)
        roof_of_tier = high if number == len(ends) else min(high, ends[number])
        if roof_of_tier > floor_of_tier:
            found.append(_tier(price, sign * (roof_of_tier - floor_of_tier)))
    if not found:
        below = [price for price in prices if price.starts_after < start] or prices[:1]
        found.append(_tier(below[-1], NOTHING))
    return found


def _tier(price: Price, quantity: Fraction) -> TierAmount:
    return TierAmount(price.starts_after, quantity, price.value, quantity * price.value)


def _fixed(charges: list[Charge], terms: Terms) -> dict[int, ChargeAmount]:
    """The fixed charges by their place, for their share of the days."""
    found = {}
    for place, charge in enumerate(charges):
        if charge.charge_type is ChargeType.FIXED:
            quantity = quantity_of_fixed(charge, terms.adjustments, terms.number)
            prices = prices_of(charge, terms.adjustments, terms.number)
            tiers = _tiers(charge, prices, NOTHING, quantity)
            found[place] = _charged(charge, quantity, tiers)
    return prorated(found, terms.days)


def _minimum(charge: Charge, lacking: Fraction) -> ChargeAmount:
    return _charged(charge, Fraction(1), [_tier(Price(NOTHING, lacking), Fraction(1))])


def _charged(charge: Charge, quantity: Fraction, tiers: Iterable[TierAmount]) -> ChargeAmount:
    every = tuple(tiers)
    return ChargeAmount(charge.id, quantity, every, sum((t.subtotal for t in every), NOTHING))
