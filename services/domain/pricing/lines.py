"""The lines of an invoice: every charge priced, and put together by product and group.

A product has one line; its charges that are grouped have a line for each value of their group key,
where there is usage (METRONOME 4.3), priced as if it were alone: tiers are per group value. Beyond
GROUP_LINES_MAX groups, in their order, one more line has what all others come to, tier by tier.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple
from uuid import UUID

from services.domain import plan as limits
from services.domain.number import ZERO, add
from services.domain.plan import Charge, ChargeType, Plan
from services.domain.pricing.charge import (
    ChargeLine,
    periods_run_on,
    price_composite,
    price_fixed,
    price_minimum,
    price_usage,
    sum_of,
)
from services.domain.pricing.proration import prorated
from services.domain.pricing.tiers import TierLine
from services.domain.pricing.usage import GroupKey, GroupValues, PeriodUsage


class ProductLine(NamedTuple):
    """One line of the invoice: a product with its charges, of one group where they are grouped."""

    product_id: UUID
    product_name: str
    charges: tuple[ChargeLine, ...]
    total: Decimal
    group_key: GroupKey = ()
    group_values: GroupValues = ()
    others: int = 0  # of how many groups beyond those that have lines of their own


@dataclass(frozen=True, slots=True)
class Share:
    """Which period it is, and how much of it the plan holds."""

    days_held: int = 1
    days_whole: int = 1
    number: int = 0


WHOLE = Share()

ChargeLines = Sequence[Sequence[ChargeLine]]
"""By place of a charge in the plan: its lines, one for each group where it is grouped."""


class WholePeriod(NamedTuple):
    """The period of which a part is priced: it decides which tier holds by volume."""

    usage: PeriodUsage
    charges: ChargeLines


def price_lines(plan: Plan, usage: PeriodUsage, share: Share = WHOLE) -> tuple[ProductLine, ...]:
    """Every line of a period, in the order of the plan's charges, groups in order of values."""
    return product_lines(plan, price_charges(plan, usage, share))


def price_charges(
    plan: Plan, usage: PeriodUsage, share: Share = WHOLE, whole: WholePeriod | None = None
) -> ChargeLines:
    """Every charge. `whole`: the whole period, where `usage` is of its part up to some instant.
    Units have the price that they have on the invoice, and what a minimum lacks is of the end."""
    quantities = usage.quantities
    by_charge = [
        _own(charge, usage, share, whole)
        if metric_id is None or whole is not None
        else [price_usage(charge, quantities.get(metric_id, ZERO))]
        for charge, metric_id in zip(plan.charges, plan.plain_metrics, strict=True)
    ]
    if share.days_held != share.days_whole:
        _prorate(plan, by_charge, share)
    for place in plan.derived:
        charge = plan.charges[place]
        base = _base_of(plan, place, by_charge)
        if charge.charge_type is ChargeType.COMPOSITE:
            at_end = None if whole is None else _base_of(plan, place, whole.charges)
            by_charge[place] = [price_composite(charge, base, at_end)]
        else:
            by_charge[place] = [price_minimum(charge, base, at_end=whole is None)]
    return by_charge


def product_lines(plan: Plan, by_charge: ChargeLines) -> tuple[ProductLine, ...]:
    """The charges put together."""
    lines: list[ProductLine] = []
    for places, grouped in plan.products:
        found = [line for place in places for line in by_charge[place]]
        if grouped:
            lines += _by_group(found)
        else:
            lines.append(_product_line(found, (), ()))
    return tuple(lines)


def _base_of(plan: Plan, place: int, by_charge: ChargeLines) -> Decimal:
    return sum_of(line.subtotal for other in plan.bases[place] for line in by_charge[other])


def _own(
    charge: Charge, usage: PeriodUsage, share: Share, whole: WholePeriod | None
) -> list[ChargeLine]:
    """The lines of a charge that needs no other; one, unless it is grouped."""
    if charge.charge_type is ChargeType.USAGE:
        metric_id = charge.metric_id
        assert metric_id is not None, f"usage charge {charge.id} has no metric"
        window = _window(charge, usage, share)
        if not charge.group_key:
            earlier = [each.quantities.get(metric_id, ZERO) for each in window]
            end = None if whole is None else whole.usage.quantities.get(metric_id, ZERO)
            return [price_usage(charge, usage.quantities.get(metric_id, ZERO), earlier, (), end)]
        key = (metric_id, charge.group_key)
        ends = None if whole is None else whole.usage.groups.get(key, {})
        return [
            price_usage(
                charge,
                metered,
                [each.groups.get(key, {}).get(values, ZERO) for each in window],
                values,
                None if ends is None else ends.get(values, ZERO),
            )
            for values, metered in usage.groups.get(key, {}).items()
        ]
    if charge.charge_type is ChargeType.FIXED:
        return [price_fixed(charge)]
    return []


def _prorate(plan: Plan, by_charge: list[list[ChargeLine]], share: Share) -> None:
    """Give the fixed charges their share of the days, all of them together."""
    fixed = [p for p, each in enumerate(plan.charges) if each.charge_type is ChargeType.FIXED]
    whole = [line for place in fixed for line in by_charge[place]]
    lines = prorated(whole, share.days_held, share.days_whole)
    for place, line in zip(fixed, lines, strict=True):
        by_charge[place] = [line]


def _window(charge: Charge, usage: PeriodUsage, share: Share) -> tuple[PeriodUsage, ...]:
    """The earlier periods on which the charge's tiers run on."""
    count = periods_run_on(charge, share.number)
    assert len(usage.earlier) >= count, f"{count} earlier periods are needed for {charge.id}"
    return usage.earlier[len(usage.earlier) - count :]


def _by_group(found: list[ChargeLine]) -> Iterator[ProductLine]:
    """A line for what is not grouped, if anything is not, then one for each group."""
    together: dict[tuple[GroupKey, GroupValues], list[ChargeLine]] = {}
    for line in found:
        together.setdefault((line.charge.group_key, line.group_values), []).append(line)
    for key, groups in groupby(sorted(together, key=_group_order), key=itemgetter(0)):
        places = list(groups)
        for place in places[: limits.GROUP_LINES_MAX]:
            yield _product_line(together[place], *place)
        others = {values for _, values in places[limits.GROUP_LINES_MAX :]}
        if others:
            theirs = [line for line in found if line.charge.group_key == key]
            theirs = [line for line in theirs if line.group_values in others]
            yield _of_others(key, theirs)._replace(others=len(others))


def _of_others(key: GroupKey, lines: list[ChargeLine]) -> ProductLine:
    """What several groups come to. Each was priced alone, so its tiers add up and still multiply
    out."""
    of_charges: dict[UUID, list[ChargeLine]] = {}
    for line in lines:
        of_charges.setdefault(line.charge.id, []).append(line)
    return _product_line([_added_up(each) for each in of_charges.values()], key, ())


def _added_up(lines: list[ChargeLine]) -> ChargeLine:
    tiers: dict[Decimal, TierLine] = {}
    for line in lines:
        for tier in line.tiers:
            held = tiers.get(tier.starts_after)
            tiers[tier.starts_after] = (
                tier
                if held is None
                else held._replace(
                    quantity=add(held.quantity, tier.quantity),
                    subtotal=add(held.subtotal, tier.subtotal),
                )
            )
    return ChargeLine(
        lines[0].charge,
        sum_of(line.quantity for line in lines),
        tuple(tiers[start] for start in sorted(tiers)),
        sum_of(line.subtotal for line in lines),
    )


def _group_order(
    group: tuple[GroupKey, GroupValues],
) -> tuple[GroupKey, tuple[tuple[bool, str], ...]]:
    """A property that events lack comes before every text, the empty one too."""
    key, values = group
    return key, tuple((value is not None, value or "") for value in values)


def _product_line(found: list[ChargeLine], key: GroupKey, values: GroupValues) -> ProductLine:
    first = found[0].charge
    total = found[0].subtotal if len(found) == 1 else sum_of([line.subtotal for line in found])
    return ProductLine(first.product_id, first.product_name, tuple(found), total, key, values)
