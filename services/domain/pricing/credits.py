"""Credits applied to one invoice: which grant covers how much of what. Pure and exact.

A period is cut where a grant begins or expires inside it, so that credits only cover what is dated
while they hold. The pieces come in order of time and do not look ahead at quantities (METRONOME
4.2), so a later decrease gives no credits back and may take the total below zero. Their prices are
those of the invoice: by volume the tier that the whole period reaches, and what a minimum charge
lacks is of the last piece. So usage that only grows makes no piece below zero. In each piece, the
grants in their order; for each grant, the products in its own order, else the invoice's. Never more
is covered than a product comes to in a piece, nor than the whole piece does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.domain.number import ZERO, add, subtract
from services.domain.period import Period
from services.domain.pricing.charge import sum_of
from services.domain.pricing.grant import CreditGrant, application_order
from services.domain.pricing.lines import ProductLine


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a period, and what each product comes to in it, in the invoice's order."""

    period: Period
    amounts: Mapping[UUID, Decimal]


@dataclass(frozen=True, slots=True)
class AvailableGrant:
    """A grant with what is left of it for this invoice."""

    grant: CreditGrant
    available: Decimal


@dataclass(frozen=True, slots=True)
class Deduction:
    """What one invoice uses up of one grant; above zero."""

    grant: CreditGrant
    amount: Decimal


def cuts_of(period: Period, grants: Iterable[CreditGrant]) -> list[datetime]:
    """The instants inside a period at which a grant begins or expires, in order."""
    ends = {end for grant in grants for end in (grant.effective_at, grant.expires_at)}
    return sorted(end for end in ends if period.start < end < period.end)


def pieces_of(
    period: Period,
    lines: Sequence[ProductLine],
    so_far: Sequence[tuple[datetime, Sequence[ProductLine]]] = (),
) -> list[Piece]:
    """The pieces of a priced period. `so_far`: for each cut, in order, the lines of what was used
    from the period's start up to it, priced as parts of the whole period (`lines.price_charges`);
    a piece is the difference between two of them."""
    pieces: list[Piece] = []
    start, before = period.start, dict[UUID, Decimal]()
    for end, priced in (*so_far, (period.end, lines)):
        after = _amounts(priced)
        amounts = {
            product_id: subtract(after.get(product_id, ZERO), before.get(product_id, ZERO))
            for product_id in {**after, **before}
        }
        pieces.append(Piece(Period(start, end), amounts))
        start, before = end, after
    return pieces


def _amounts(lines: Iterable[ProductLine]) -> dict[UUID, Decimal]:
    amounts: dict[UUID, Decimal] = {}
    for line in lines:
        amounts[line.product_id] = add(amounts.get(line.product_id, ZERO), line.total)
    return amounts


def apply_credits(
    pieces: Sequence[Piece],
    grants: Iterable[AvailableGrant],
    unit_id: UUID,
    covered: Decimal = ZERO,
) -> list[Deduction]:
    """What each grant pays, in order of application; grants that pay nothing are left out.

    `covered`: what something else, a trial, has paid already; it covers the earliest usage.
    """
    order = sorted(
        (each for each in grants if each.grant.unit.id == unit_id and each.available > 0),
        key=lambda each: application_order(each.grant),
    )
    left = {each.grant.id: each.available for each in order}
    used: dict[UUID, Decimal] = {}
    for piece in pieces:
        open_amounts = {key: amount for key, amount in piece.amounts.items() if amount > 0}
        budget = max(sum_of(piece.amounts.values()), ZERO)
        paid = _cover(open_amounts, open_amounts, min(budget, covered))
        covered, budget = subtract(covered, paid), subtract(budget, paid)
        for each in order:
            grant = each.grant
            if not grant.covers(piece.period):
                continue
            products = grant.product_ids or tuple(open_amounts)
            paid = _cover(open_amounts, products, min(budget, left[grant.id]))
            budget = subtract(budget, paid)
            left[grant.id] = subtract(left[grant.id], paid)
            used[grant.id] = add(used.get(grant.id, ZERO), paid)
    return [Deduction(each.grant, used[each.grant.id]) for each in order if used.get(each.grant.id)]


def _cover(open_amounts: dict[UUID, Decimal], products: Iterable[UUID], most: Decimal) -> Decimal:
    """Take up to `most` from the open amounts of products, in order; returns how much."""
    taken = ZERO
    for product_id in tuple(products):
        part = min(open_amounts.get(product_id, ZERO), subtract(most, taken))
        if part > 0:
            open_amounts[product_id] = subtract(open_amounts[product_id], part)
            taken = add(taken, part)
    return taken
