"""Plans: charges with tiered prices on billable metrics. Says what a sound plan is; prices nothing.

Words and shapes follow Metronome's planDetails (METRONOME 3.3).
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from services.domain.money import CreditType


class RoundingBehavior(StrEnum):
    """What a unit conversion does with a fraction."""

    FLOOR = "floor"
    CEILING = "ceiling"


@dataclass(frozen=True, slots=True)
class Tier:
    """A price that holds for the quantity beyond `starts_after` up to the next tier, inclusive."""

    starts_after: Decimal  # exclusive: 0, 100, 1000 price (0, 100], (100, 1000], (1000, ...)
    price: Decimal  # pricing units (cents) per unit of quantity


@dataclass(frozen=True, slots=True)
class UnitConversion:
    """The metric's value is divided by `division_factor`, then rounded as told."""

    division_factor: Decimal
    rounding: RoundingBehavior | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One priced metric of a product."""

    id: UUID
    name: str
    product_id: UUID
    product_name: str
    metric_id: UUID
    tiers: tuple[Tier, ...]
    unit_conversion: UnitConversion | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A named set of charges in one pricing unit."""

    id: UUID
    name: str
    unit: CreditType
    charges: tuple[Charge, ...]


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
