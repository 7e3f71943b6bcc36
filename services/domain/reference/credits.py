"""The oracle's credits: who pays for which part of what was used, one triple of piece, grant and
product after the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from uuid import UUID

from services.domain.plan import Plan
from services.domain.pricing.grant import CreditGrant
from services.domain.reference.price import Bill, bill_period, lines_of
from services.domain.reference.terms import Terms, Used

NOTHING = Fraction(0)

Grants = Sequence[tuple[CreditGrant, Fraction]]
"""With what is left of each."""


def bill_credited(
    plan: Plan, used: Sequence[tuple[datetime, Used]], start: datetime, terms: Terms, grants: Grants
) -> Bill:
    """Price a period of which credits pay a part. `used`: from its start up to each instant at
    which a grant begins or expires, the end of the period last. Priced once without credits, to
    know what there is for them to pay. What is used up to an instant is priced as a part of the
    period."""
    (_, whole) = used[-1]
    free = -sum(
        (amount for name, amount in bill_period(plan, whole, terms).adjustments if name == "Trial"),
        NOTHING,
    )
    pieces = []
    before = dict[UUID, Fraction]()
    for end, until in used:
        after: dict[UUID, Fraction] = {}
        for line in lines_of(plan, until, terms, None if until is whole else whole):
            after[line.product_id] = after.get(line.product_id, NOTHING) + line.total
        products = dict.fromkeys((*after, *before))
        piece = {p: after.get(p, NOTHING) - before.get(p, NOTHING) for p in products}
        pieces.append((start, end, piece))
        start, before = end, after
    paid = paid_by(pieces, grants, plan.unit.id, free)
    order = sorted((grant for grant, _ in grants), key=lambda g: (g.priority, g.expires_at, g.id))
    shown = tuple((grant.name, paid[grant.id], grant.id) for grant in order if grant.id in paid)
    return bill_period(plan, whole, replace(terms, credits=shown))


def paid_by(
    pieces: Sequence[tuple[datetime, datetime, Mapping[UUID, Fraction]]],
    grants: Iterable[tuple[CreditGrant, Fraction]],
    unit_id: UUID,
    free: Fraction = NOTHING,
) -> dict[UUID, Fraction]:
    """By grant, what it pays. `pieces`: [start, end) with amounts by product; `grants`: with what
    is left of each; `free`: what a trial pays before them."""
    left = {grant.id: available for grant, available in grants}
    order = sorted(
        (grant for grant, _ in grants if grant.unit.id == unit_id),
        key=lambda grant: (grant.priority, grant.expires_at, grant.id),
    )
    paid: dict[UUID, Fraction] = {}
    for start, end, amounts in pieces:
        still = max(sum(amounts.values(), NOTHING), NOTHING)
        due = dict(amounts)
        for product in amounts:
            part = max(min(due[product], still, free), NOTHING)
            due[product] -= part
            still -= part
            free -= part
        for grant in order:
            if start < grant.effective_at or grant.expires_at < end:
                continue
            for product in grant.product_ids or tuple(amounts):
                part = max(min(due.get(product, NOTHING), still, left[grant.id]), NOTHING)
                if part:
                    due[product] -= part
                    still -= part
                    left[grant.id] -= part
                    paid[grant.id] = paid.get(grant.id, NOTHING) + part
    return paid
