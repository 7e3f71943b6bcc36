"""Tiers of a quantity, graduated or by volume. Exact.

METRONOME 4.6: the ends are (0, 100], (100, 1000], (1000, ...). Graduated: each unit is priced by
the tier it falls in. Volume: all of them by the tier that the quantity reaches; a part of a period
has the tier of the whole.

`offset` is what earlier periods of the same tier window came to (`tier_reset_frequency`): the
quantity lies in (offset, offset + quantity]. A quantity below zero, as LATEST's increments may be,
takes units back from where the quantity stands: each at the price of the tier it stood in
(METRONOME 4.2: the then current price). So a rise and the same fall cancel out. Below zero, the
first tier holds.
"""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.number import EXACT, ZERO, add, subtract
from services.domain.plan import Tier, Tiering


class TierLine(NamedTuple):
    """The part of a quantity that one tier priced."""

    starts_after: Decimal
    quantity: Decimal
    price: Decimal
    subtotal: Decimal


def tier_lines(
    quantity: Decimal,
    tiers: Sequence[Tier],
    tiering: Tiering,
    offset: Decimal = ZERO,
    whole: Decimal | None = None,
) -> list[TierLine]:
    """The lines of a quantity; at least one, whatever the quantity. `whole`: what the period comes
    to, where the quantity is only that of a part of it, from the period's start."""
    if len(tiers) == 1:
        return [_line(tiers[0], quantity)]
    if tiering is Tiering.VOLUME:
        end = add(offset, quantity if whole is None else whole)
        return [_line(tiers[_reached(end, tiers)], quantity)]
    return graduated(quantity, tiers, offset)


def graduated(quantity: Decimal, tiers: Sequence[Tier], offset: Decimal = ZERO) -> list[TierLine]:
    """One line for every tier that the quantity lies in, the lowest first."""
    end = add(offset, quantity)
    below, high = (offset, end) if quantity > 0 else (end, offset)
    lines: list[TierLine] = []
    last = len(tiers) - 1
    for index, tier in enumerate(tiers):
        above = high if index == last else min(high, tiers[index + 1].starts_after)
        if above > below:
            part = subtract(above, below)
            lines.append(_line(tier, part if quantity > 0 else subtract(ZERO, part)))
            below = above
        if above is high:
            break
    return lines or [_line(tiers[_reached(offset, tiers)], ZERO)]


def _line(tier: Tier, quantity: Decimal) -> TierLine:
    return TierLine(tier.starts_after, quantity, tier.price, EXACT.multiply(quantity, tier.price))


def _reached(quantity: Decimal, tiers: Sequence[Tier]) -> int:
    """The tier that a quantity ends in: at a boundary still the one below it."""
    return max(bisect_left(tiers, quantity, key=_start) - 1, 0)


def _start(tier: Tier) -> Decimal:
    return tier.starts_after
