"""What the oracle prices a period by, as plain values: what was used, and the customer's terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

from services.domain.pricing.adjustment import PriceAdjustment

GroupValues = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Used:
    """Metered values of one period: by metric, and by (metric, group key) and group values.
    `earlier`: the periods before it, the oldest first."""

    quantities: Mapping[UUID, Fraction]
    groups: Mapping[tuple[UUID, tuple[str, ...]], Mapping[GroupValues, Fraction]] = field(
        default_factory=dict
    )
    earlier: tuple["Used", ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """Which period it is, and what is the customer's own."""

    number: int = 0
    days: tuple[int, int] = (1, 1)  # held, of the whole period
    adjustments: tuple[PriceAdjustment, ...] = ()
    overage: Mapping[UUID, Decimal] = field(default_factory=dict)  # own factor by currency
    trial: bool = False
    trial_cap: Fraction | None = None
    credits: tuple[tuple[str, Fraction, UUID], ...] = ()  # (name, amount covered, grant) in order
