"""One charge of one period: from its quantity to its amount. Exact.

Usage: 1. unit conversion, 2. started blocks, 3. tiers. Fixed: tiers of the quantity, for the whole
period (all fixed charges of an invoice are prorated together, by `proration`). Composite: tiers of
what its base comes to, in fractions. Minimum: what its base lacks.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.number import EXACT, ZERO, subtract
from services.domain.plan import ONE, Charge, Plan
from services.domain.pricing.conversion import convert, started_blocks
from services.domain.pricing.tiers import TierLine, tier_lines
from services.domain.pricing.usage import GroupValues


class ChargeLine(NamedTuple):
    """One charge of a product, with the tiers its quantity lies in. `group_values` are those of
    the charge's group key."""

    charge: Charge
    quantity: Decimal
    tiers: tuple[TierLine, ...]
    subtotal: Decimal
    group_values: GroupValues = ()


def price_usage(
    charge: Charge,
    metered: Decimal,
    earlier: Sequence[Decimal] = (),
    group_values: GroupValues = (),
    whole: Decimal | None = None,
) -> ChargeLine:
    """A usage charge. `earlier`: metered values of the earlier periods of its tier window, each of
    which was converted by itself, as its invoice was. `whole`: the metered value of the whole
    period, where `metered` is that of a part of it."""
    quantity = metered
    if charge.unit_conversion is not None or charge.package_size is not None:
        quantity = _to_price(charge, metered)
    offset = sum_of(_to_price(charge, value) for value in earlier) if earlier else ZERO
    end = None if whole is None else _to_price(charge, whole)
    tiers = tier_lines(quantity, charge.tiers, charge.tiering, offset, end)
    subtotal = tiers[0].subtotal if len(tiers) == 1 else sum_of([tier.subtotal for tier in tiers])
    return ChargeLine(charge, quantity, tuple(tiers), subtotal, group_values)


def price_fixed(charge: Charge) -> ChargeLine:
    """A fixed charge of a whole period."""
    tiers = tier_lines(charge.quantity, charge.tiers, charge.tiering)
    quantity = sum_of(tier.quantity for tier in tiers)
    return ChargeLine(charge, quantity, tuple(tiers), sum_of(tier.subtotal for tier in tiers))


def price_composite(charge: Charge, base: Decimal, whole: Decimal | None = None) -> ChargeLine:
    """A percentage of what other charges come to: that is its quantity, its prices are fractions
    (0.05 is 5 %), tiered by spend (METRONOME 4.6). `whole`: what they come to in the whole period,
    where `base` is of a part of it."""
    tiers = tier_lines(base, charge.tiers, charge.tiering, ZERO, whole)
    return ChargeLine(charge, base, tuple(tiers), sum_of(tier.subtotal for tier in tiers))


def price_minimum(charge: Charge, base: Decimal, *, at_end: bool = True) -> ChargeLine:
    """What other charges lack to the price of this one: one unit at that price, or at 0. What they
    lack is known at the end of the period, and nothing of it is due before."""
    lacking = max(subtract(charge.tiers[0].price, base), ZERO) if at_end else ZERO
    return ChargeLine(charge, ONE, (TierLine(ZERO, ONE, lacking, lacking),), lacking)


def periods_run_on(charge: Charge, number: int) -> int:
    """How many periods before this one are in the same tier window. Windows are counted from the
    plan's first regular period, whenever the charge begins."""
    return number % charge.tier_reset_frequency


def periods_needed(plan: Plan, number: int) -> int:
    """How many earlier periods the pricing of a period has to be given."""
    return max((periods_run_on(charge, number) for charge in plan.charges), default=0)


def sum_of(amounts: Iterable[Decimal]) -> Decimal:
    """The exact sum."""
    total, add = ZERO, EXACT.add
    for amount in amounts:
        total = add(total, amount)
    return total


def _to_price(charge: Charge, metered: Decimal) -> Decimal:
    return started_blocks(convert(metered, charge.unit_conversion), charge.package_size)
