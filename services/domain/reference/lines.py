"""The oracle's lines: tiers, charges and lines as amounts, and the one line of the groups that are
too many to have their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple
from uuid import UUID

from services.domain import plan as limits
from services.domain.plan import Charge
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


Amounts = Mapping[int, Mapping[GroupValues, ChargeAmount]]
"""By place of a charge, then by group."""


def lines_of_product(
    product_id: UUID, charges: Sequence[Charge], amounts: Amounts
) -> Iterator[Line]:
    """The lines of one product: what is not grouped, then by group."""
    mine = [place for place, charge in enumerate(charges) if charge.product_id == product_id]
    groups = {(charges[place].group_key, values) for place in mine for values in amounts[place]}
    by_key: dict[tuple[str, ...], list[Line]] = {}
    for key, values in sorted(groups, key=_sortable):
        found = tuple(
            amounts[place][values]
            for place in mine
            if charges[place].group_key == key and values in amounts[place]
        )
        total = sum((amount.subtotal for amount in found), NOTHING)
        by_key.setdefault(key, []).append(Line(product_id, found, total, (key, values)))
    for key, lines in by_key.items():
        ids = [charges[place].id for place in mine if charges[place].group_key == key]
        yield from within_limit(lines, ids)


def _sortable(group: tuple[tuple[str, ...], GroupValues]) -> tuple[tuple[str, ...], list[str]]:
    """Where events lack the property comes first: nothing, before any text with a mark."""
    key, values = group
    return key, ["" if value is None else f"={value}" for value in values]


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
