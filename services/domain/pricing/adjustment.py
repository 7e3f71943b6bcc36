"""Price adjustments of a customer's plan: the plan's prices as this customer has them.

For each price of a charge, in this order (METRONOME 4.6 names the four kinds and no order):
1. override replaces the price; 2. percentage changes it by that share (-0.05 is 5 % off); 3. fixed
adds an amount. Apart from these, quantity replaces the quantity of a fixed charge. Of each kind one
holds: of those that have begun and are for this tier (or for every tier), the one that began last,
and of two that began together the one for this tier.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import groupby
from uuid import UUID

from services.domain.number import ZERO, add, multiply
from services.domain.plan import ONE, Charge, Plan, Tier


class AdjustmentType(StrEnum):
    """What an adjustment does (METRONOME 3.3)."""

    PERCENTAGE = "percentage"
    FIXED = "fixed"
    OVERRIDE = "override"
    QUANTITY = "quantity"


@dataclass(frozen=True, slots=True)
class PriceAdjustment:
    """One change to the prices of one charge. `value` is the quantity where it is one."""

    charge_id: UUID
    adjustment_type: AdjustmentType
    value: Decimal
    start_period: int = 0
    tier: Decimal | None = None  # of the tier that starts there; None: of every tier


def adjusted(charge: Charge, adjustments: Sequence[PriceAdjustment], number: int) -> Charge:
    """The charge as it is in the period of this number."""
    held = _holding(charge, adjustments, number)
    if not held:
        return charge
    quantity = _value(held, AdjustmentType.QUANTITY, None)
    tiers = tuple(Tier(tier.starts_after, _price(tier, held)) for tier in charge.tiers)
    return replace(charge, tiers=tiers, quantity=charge.quantity if quantity is None else quantity)


# By kind and tier, the adjustment that began last.
_Holding = dict[tuple[AdjustmentType, Decimal | None], PriceAdjustment]


def _holding(charge: Charge, adjustments: Iterable[PriceAdjustment], number: int) -> _Holding:
    """Looked through once for all tiers: there may be a thousand of either."""
    held: _Holding = {}
    for each in adjustments:
        if each.charge_id == charge.id and each.start_period <= number:
            place = each.adjustment_type, each.tier
            if place not in held or each.start_period > held[place].start_period:
                held[place] = each
    return held


def _price(tier: Tier, held: _Holding) -> Decimal:
    override = _value(held, AdjustmentType.OVERRIDE, tier.starts_after)
    price = tier.price if override is None else override
    percentage = _value(held, AdjustmentType.PERCENTAGE, tier.starts_after)
    if percentage is not None:
        price = multiply(price, add(ONE, percentage))
    fixed = _value(held, AdjustmentType.FIXED, tier.starts_after)
    return price if fixed is None else add(price, fixed)


def _value(held: _Holding, kind: AdjustmentType, tier: Decimal | None) -> Decimal | None:
    """The value of the one of its kind that holds for a tier."""
    own, every = held.get((kind, tier)), held.get((kind, None))
    if own is None or (every is not None and every.start_period > own.start_period):
        own = every
    return None if own is None else own.value


def adjustment_faults(plan: Plan, adjustments: Sequence[PriceAdjustment]) -> list[tuple[str, str]]:
    """What is wrong with the adjustments of a customer's plan: (field path, reason) pairs."""
    charges = {charge.id: charge for charge in plan.charges}
    faults: list[tuple[str, str]] = []
    seen: set[tuple[object, ...]] = set()
    for index, adjustment in enumerate(adjustments):
        where = f"price_adjustments[{index}]"
        charge = charges.get(adjustment.charge_id)
        same = (
            adjustment.charge_id,
            adjustment.adjustment_type,
            adjustment.start_period,
            adjustment.tier,
        )
        if same in seen:
            faults.append((where, "a second adjustment of the same type, tier and start_period"))
        seen.add(same)
        if adjustment.start_period < 0:
            faults.append((f"{where}.start_period", "must be 0 or more"))
        if charge is None:
            faults.append((f"{where}.charge_id", f"the plan has no charge {adjustment.charge_id}"))
            continue
        faults += [(f"{where}.{field}", reason) for field, reason in _misfits(charge, adjustment)]
    return faults or _negative_prices(plan, adjustments)


def _misfits(charge: Charge, adjustment: PriceAdjustment) -> Iterable[tuple[str, str]]:
    """What an adjustment says that its charge cannot take."""
    if adjustment.tier is not None and all(
        tier.starts_after != adjustment.tier for tier in charge.tiers
    ):
        yield "tier", f"the charge has no tier that starts at {adjustment.tier}"
    match adjustment.adjustment_type:
        case AdjustmentType.QUANTITY:
            if charge.charge_type.value != "fixed":
                yield "adjustment_type", f"a {charge.charge_type.value} charge has no quantity"
            if adjustment.tier is not None:
                yield "tier", "a quantity has no tier"
            if adjustment.value < 0:
                yield "quantity", "must be 0 or more"
        case AdjustmentType.OVERRIDE:
            if adjustment.value < 0:
                yield "value", "must be 0 or more"
        case AdjustmentType.PERCENTAGE:
            if adjustment.value < -1:
                yield "value", "must be -1 (100 % off) or more"
        case AdjustmentType.FIXED:
            return


def _negative_prices(plan: Plan, adjustments: Sequence[PriceAdjustment]) -> list[tuple[str, str]]:
    """Adjustments that take a price below 0 from some period on; of each charge the first."""
    by_charge: dict[UUID, list[tuple[int, PriceAdjustment]]] = {}
    for index, each in enumerate(adjustments):
        by_charge.setdefault(each.charge_id, []).append((index, each))
    found = (_below_zero(charge, by_charge.get(charge.id, ())) for charge in plan.charges)
    return [fault for fault in found if fault is not None]


def _below_zero(
    charge: Charge, numbered: Sequence[tuple[int, PriceAdjustment]]
) -> tuple[str, str] | None:
    """Only a fixed one can do that. `numbered`: the charge's own, with their places."""
    fixed = [
        (index, each)
        for index, each in numbered
        if each.adjustment_type is AdjustmentType.FIXED and each.value < 0
    ]
    if not fixed:
        return None
    prices = _BegunPrices(charge)
    by_start = sorted((each for _, each in numbered), key=_start)
    for number, together in groupby(by_start, key=_start):
        prices.begin(together)
        tier = prices.first_below_zero()
        if tier is not None:
            place = next(
                index
                for index, each in fixed
                if each.start_period <= number and each.tier in (None, tier.starts_after)
            )
            reason = f"takes the price of charge {charge.name!r} below 0"
            return (
                f"price_adjustments[{place}].value",
                f"{reason} from billing period {number} on",
            )
    return None


def _start(adjustment: PriceAdjustment) -> int:
    return adjustment.start_period


class _BegunPrices:
    """The prices of a charge's tiers as its adjustments begin, one start_period after another: what
    `adjusted` says of each, but only what has just begun is worked out. A thousand starts of a
    hundred tiers took a second the plain way, in which the API answered nobody."""

    def __init__(self, charge: Charge) -> None:
        self._tiers = charge.tiers
        self._places = {tier.starts_after: place for place, tier in enumerate(charge.tiers)}
        # By tier: the price after an override, what a percentage makes of 1, their product, and how
        # much that is at least for the price to be 0 or more.
        self._overridden = [tier.price for tier in charge.tiers]
        self._factors = [ONE] * len(charge.tiers)
        self._before_fixed = list(self._overridden)
        self._least = [ZERO] * len(charge.tiers)

    def begin(self, together: Iterable[PriceAdjustment]) -> None:
        """Those that begin next, in the same period. Each replaces what held of its kind; the one
        for a tier comes last, as it holds before the one for every tier."""
        for each in sorted(together, key=lambda each: each.tier is not None):
            places: Sequence[int] = range(len(self._tiers))
            if each.tier is not None:
                places = (self._places[each.tier],)
            match each.adjustment_type:
                case AdjustmentType.FIXED:
                    _put(self._least, places, each.value.copy_negate())
                    continue
                case AdjustmentType.OVERRIDE:
                    _put(self._overridden, places, each.value)
                case AdjustmentType.PERCENTAGE:
                    _put(self._factors, places, add(ONE, each.value))
                case AdjustmentType.QUANTITY:
                    continue
            for place in places:
                self._before_fixed[place] = multiply(self._overridden[place], self._factors[place])

    def first_below_zero(self) -> Tier | None:
        """The first tier whose price is below 0."""
        for tier, price, least in zip(self._tiers, self._before_fixed, self._least, strict=True):
            if price < least:
                return tier
        return None


def _put(values: list[Decimal], places: Iterable[int], value: Decimal) -> None:
    for place in places:
        values[place] = value
