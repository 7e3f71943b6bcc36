"""The oracle's lines: tiers, charges and lines as amounts, and the one line of the groups that are
too many to have their own.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from services.domain import plan as limits
from services.domain.reference.terms import GroupValues

NOTHING = Fraction(0)


class TierAmount(NamedTuple):
    """The part of a quantity that one tier prices."""

    starts_after: Fraction
    quantity: Fraction
    price: Fraction
    subtotal: Fraction


class ChargeAmount(NamedTuple):
    """One charge of an invoice."""

    charge_id: UUID
    quantity: Fraction
    tiers: tuple[TierAmount, ...]
    subtotal: Fraction


class Line(NamedTuple):
    """One product of an invoice, or one group of it."""

    product_id: UUID
    charges: tuple[ChargeAmount, ...]
    total: Fraction
    group: tuple[tuple[str, ...], GroupValues] = ((), ())
    others: int = 0  # the groups that it is of, where there are too many


def within_limit(lines: Sequence[Line], charge_ids: Sequence[UUID]) -> Iterator[Line]:
    """The lines of one product and group key; those beyond the limit as one."""
    yield from lines[: limits.GROUP_LINES_MAX]
    others = lines[limits.GROUP_LINES_MAX :]
    if others:
        parts = tuple(part for each in charge_ids for part in _together(each, others))
        total = sum((line.total for line in others), NOTHING)
        yield Line(others[0].product_id, parts, total, (others[0].group[0], ()), len(others))


def _together(charge_id: UUID, lines: Sequence[Line]) -> Iterator[ChargeAmount]:
    """One charge of several groups: tiers of the same start in one."""
    parts = [part for line in lines for part in line.charges if part.charge_id == charge_id]
    every = [tier for part in parts for tier in part.tiers]
    tiers = tuple(
        TierAmount(
            start,
            sum((tier.quantity for tier in every if tier.starts_after == start), NOTHING),
            price,
            sum((tier.subtotal for tier in every if tier.starts_after == start), NOTHING),
        )
        for start, price in sorted({(tier.starts_after, tier.price) for tier in every})
    )
    if parts:
        quantity = sum((part.quantity for part in parts), NOTHING)
        yield ChargeAmount(charge_id, quantity, tiers, sum((t.subtotal for t in tiers), NOTHING))
