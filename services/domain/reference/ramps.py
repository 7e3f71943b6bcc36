"""The oracle's ramps and price adjustments: which steps hold in a period, and at what prices."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple, TypeVar

from services.domain.plan import Charge, Minimum, OverageRate
from services.domain.pricing.adjustment import AdjustmentType, PriceAdjustment

Step = TypeVar("Step", Charge, Minimum, OverageRate)


class Price(NamedTuple):
    """A price and the quantity beyond which it holds."""

    starts_after: Fraction
    value: Fraction


def steps_of(steps: Iterable[Step], number: int) -> list[Step]:
    """Those that hold: begun, and not followed by another that has begun."""
    every = list(steps)
    return [
        step
        for step in every
        if step.start_period <= number
        and not any(
            step.start_period < other.start_period <= number and _ramp(other) == _ramp(step)
            for other in every
        )
    ]


def _ramp(step: Charge | Minimum | OverageRate) -> object:
    return (step.product_id, step.name) if isinstance(step, Charge) else step.unit


def prices_of(charge: Charge, adjustments: Sequence[PriceAdjustment], number: int) -> list[Price]:
    """The prices that a customer has."""
    prices = []
    for tier in charge.tiers:
        value = Fraction(tier.price)
        for kind in (AdjustmentType.OVERRIDE, AdjustmentType.PERCENTAGE, AdjustmentType.FIXED):
            own = _own(charge, adjustments, number, kind, Fraction(tier.starts_after))
            if own is None:
                continue
            if kind is AdjustmentType.OVERRIDE:
                value = own
            elif kind is AdjustmentType.PERCENTAGE:
                value += value * own
            else:
                value += own
        prices.append(Price(Fraction(tier.starts_after), value))
    return prices


def quantity_of_fixed(
    charge: Charge, adjustments: Sequence[PriceAdjustment], number: int
) -> Fraction:
    """The quantity of a fixed charge that a customer has."""
    own = _own(charge, adjustments, number, AdjustmentType.QUANTITY, None)
    return Fraction(charge.quantity) if own is None else own


def _own(
    charge: Charge,
    adjustments: Sequence[PriceAdjustment],
    number: int,
    kind: AdjustmentType,
    tier: Fraction | None,
) -> Fraction | None:
    """The customer's value: the latest to begin, and of those the one that names the tier."""
    for start in range(number, -1, -1):
        for named in (True, False):
            for each in adjustments:
                if (each.charge_id, each.adjustment_type, each.start_period) != (
                    charge.id, kind, start,
                ):  # fmt: skip
                    continue
                if each.tier == tier if named else each.tier is None:
                    return Fraction(each.value)
    return None
