"""Graduated tiers: each unit is priced by the tier it falls in. Exact.

METRONOME 4.6: the ends are (0, 100], (100, 1000], (1000, ...).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.number import ZERO, multiply, subtract
from services.domain.plan import Tier


class TierLine(NamedTuple):
    """The part of a quantity that one tier priced."""

    starts_after: Decimal
    quantity: Decimal
    price: Decimal
    subtotal: Decimal


def graduated(quantity: Decimal, tiers: Sequence[Tier]) -> list[TierLine]:
    """One line for every tier that the quantity reaches; the first one always.

    A quantity below zero (corrections) is priced by the first tier.
    """
    lines: list[TierLine] = []
    for index, tier in enumerate(tiers):
        if index > 0 and quantity <= tier.starts_after:
            break
        last = index + 1 == len(tiers)
        upper = quantity if last else min(quantity, tiers[index + 1].starts_after)
        part = subtract(upper, tier.starts_after if index > 0 else ZERO)
        lines.append(TierLine(tier.starts_after, part, tier.price, multiply(part, tier.price)))
    return lines
