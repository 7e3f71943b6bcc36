"""Plans: charges with tiered prices, and what applies to an invoice as a whole. Prices nothing;
what makes a plan unsound is in `services.domain.plan_faults`.

Words and shapes follow Metronome's planDetails (METRONOME 3.3).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from services.domain.money import CreditType
from services.domain.schedule import BillingCycle, BillingFrequency

ONE = Decimal(1)
# Lines of one group key and product on an invoice; the groups beyond share one more. Ten times what
# Metronome asks to talk about, 8 MB of JSON, and far from the 256 MB that PostgreSQL holds.
GROUP_LINES_MAX = 10_000


class ChargeType(StrEnum):
    """What the quantity of a charge is."""

    USAGE = "usage"  # the metered value of a billable metric
    FIXED = "fixed"  # a flat fee times `quantity`, prorated by day
    COMPOSITE = "composite"  # what other charges come to; its prices are fractions of that
    MINIMUM = "minimum"  # what is missing of its price, when other charges come to less


# What a composite and a minimum look at; other kinds of charges look at none. No kind looks at
# itself, so nothing goes round in circles.
LOOKS_AT = {
    ChargeType.COMPOSITE: (ChargeType.USAGE, ChargeType.FIXED),
    ChargeType.MINIMUM: (ChargeType.USAGE, ChargeType.FIXED, ChargeType.COMPOSITE),
}


class Tiering(StrEnum):
    """How a tiered price is applied (METRONOME 4.6)."""

    GRADUATED = "GRADUATED"  # each unit has the price of the tier it falls in
    VOLUME = "VOLUME"  # all units have the price of the tier that the quantity reaches


class RoundingBehavior(StrEnum):
    """What a unit conversion does with a fraction."""

    FLOOR = "floor"
    CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Tier:
    """A price that holds for the quantity beyond `starts_after` up to the next tier, inclusive."""

    starts_after: Decimal  # exclusive: 0, 100, 1000 price (0, 100], (100, 1000], (1000, ...)
    price: Decimal  # pricing units (cents) per unit of quantity; a fraction for a composite


@dataclass(frozen=True, slots=True)
class UnitConversion:
    """The metric's value is divided by `division_factor`, then rounded as told."""

    division_factor: Decimal
    rounding: RoundingBehavior | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One priced thing of a product. A usage charge has a metric, the others have none.

    A composite or a minimum looks at the charges of `base_product_ids` and at `base_charge_ids`;
    with neither, a composite looks at the whole plan, a minimum at its own product. Of a product
    only the charges of the kinds in `LOOKS_AT` count.
    """

    id: UUID
    name: str
    product_id: UUID
    product_name: str
    metric_id: UUID | None
    tiers: tuple[Tier, ...]
    unit_conversion: UnitConversion | None = None
    charge_type: ChargeType = ChargeType.USAGE
    tiering: Tiering = Tiering.GRADUATED
    package_size: Decimal | None = None  # the price is per started block of so many units
    quantity: Decimal = ONE  # of a fixed charge
    tier_reset_frequency: int = 1  # billing periods over which the tiers run on
    start_period: int = 0  # billing periods that pass before it applies
    group_key: tuple[str, ...] = ()  # each value of it is priced by itself, with its own line
    base_product_ids: tuple[UUID, ...] = ()
    base_charge_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Minimum:
    """What an invoice comes to at least."""

    name: str
    value: Decimal
    unit: CreditType
    start_period: int = 0


@dataclass(frozen=True, slots=True)
class OverageRate:
    """The price in `fiat` of one unit of a custom pricing unit that no credits cover."""

    unit: CreditType
    fiat: CreditType
    to_fiat_conversion_factor: Decimal
    start_period: int = 0


@dataclass(frozen=True, slots=True)
class PlanCreditGrant:
    """Credits that every customer of the plan is granted. Durations are in billing periods."""

    name: str
    amount_granted: Decimal
    granted_unit: CreditType
    amount_paid: Decimal
    paid_unit: CreditType
    effective_duration: int  # a grant holds for so many periods
    priority: Decimal
    send_invoice: bool = False
    reason: str | None = None
    recurrence_interval: int | None = None  # granted again each so many periods
    recurrence_duration: int | None = None  # for so many periods; None: as long as the plan


@dataclass(frozen=True, slots=True)
class Plan:
    """A named set of charges in one pricing unit.

    The fields that are not given are worked out once, because a plan prices many invoices: places
    of charges in `charges`, never their ids.
    """

    id: UUID
    name: str
    unit: CreditType
    charges: tuple[Charge, ...]
    billing_frequency: BillingFrequency = BillingFrequency.MONTHLY
    billing_cycle: BillingCycle = BillingCycle.CALENDAR
    minimums: tuple[Minimum, ...] = ()
    overage_rates: tuple[OverageRate, ...] = ()
    credit_grants: tuple[PlanCreditGrant, ...] = ()
    # The charges of each product, and whether any of them is grouped.
    products: tuple[tuple[tuple[int, ...], bool], ...] = field(
        init=False, compare=False, repr=False
    )
    # By charge its metric, where nothing but the metric's value is needed to price it.
    plain_metrics: tuple[UUID | None, ...] = field(init=False, compare=False, repr=False)
    # What is metered by group: metrics with the group keys of the charges that price them.
    group_meters: tuple[tuple[UUID, tuple[str, ...]], ...] = field(
        init=False, compare=False, repr=False
    )
    bases: tuple[tuple[int, ...], ...] = field(init=False, compare=False, repr=False)
    derived: tuple[int, ...] = field(init=False, compare=False, repr=False)
    starts: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        products: dict[UUID, list[int]] = {}
        for place, charge in enumerate(self.charges):
            products.setdefault(charge.product_id, []).append(place)
        grouped = (
            (tuple(places), any(self.charges[place].group_key for place in places))
            for places in products.values()
        )
        object.__setattr__(self, "products", tuple(grouped))
        object.__setattr__(self, "plain_metrics", tuple(map(_plain_metric, self.charges)))
        meters = {
            (charge.metric_id, charge.group_key): None
            for charge in self.charges
            if charge.metric_id is not None and charge.group_key
        }
        object.__setattr__(self, "group_meters", tuple(meters))
        bases = tuple(tuple(_base(self.charges, place)) for place in range(len(self.charges)))
        object.__setattr__(self, "bases", bases)
        # A minimum may look at composites, so it comes after them.
        derived = [
            place
            for kind in (ChargeType.COMPOSITE, ChargeType.MINIMUM)
            for place, charge in enumerate(self.charges)
            if charge.charge_type is kind
        ]
        object.__setattr__(self, "derived", tuple(derived))
        starts = {0, *(charge.start_period for charge in self.charges)}
        starts.update(minimum.start_period for minimum in self.minimums)
        starts.update(rate.start_period for rate in self.overage_rates)
        object.__setattr__(self, "starts", tuple(sorted(starts)))


def _plain_metric(charge: Charge) -> UUID | None:
    """The metric of a usage charge that is one whole quantity and whose tiers begin anew."""
    usage = charge.charge_type is ChargeType.USAGE
    plain = usage and charge.tier_reset_frequency == 1 and not charge.group_key
    return charge.metric_id if plain else None


def _base(charges: tuple[Charge, ...], place: int) -> Iterable[int]:
    """Places of the charges that a composite or a minimum looks at."""
    looking = charges[place]
    kinds = LOOKS_AT.get(looking.charge_type, ())
    everything = not looking.base_product_ids and not looking.base_charge_ids
    own_product = everything and looking.charge_type is ChargeType.MINIMUM
    for other, charge in enumerate(charges):
        if charge.charge_type not in kinds:
            continue
        named = (
            charge.product_id in looking.base_product_ids or charge.id in looking.base_charge_ids
        )
        if named or (everything and (not own_product or charge.product_id == looking.product_id)):
            yield other


def tier_faults(starts: list[Decimal]) -> list[tuple[int, str]]:
    """What is wrong with the `tier` values of a charge: (index, reason) pairs, empty when sound."""
    faults: list[tuple[int, str]] = []
    for index, start in enumerate(starts):
        if index == 0 and start != 0:
            faults.append((0, f"the first tier must be 0, not {start}"))
        elif index > 0 and start <= starts[index - 1]:
            before = starts[index - 1]
            faults.append(
                (index, f"must be greater than the tier before it ({before}), not {start}")
            )
    return faults
