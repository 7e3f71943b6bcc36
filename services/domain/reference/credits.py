"""The oracle's credits: who pays for which part of what was used, one triple of piece, grant and
product after the other.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from uuid import UUID

from services.domain.pricing.grant import CreditGrant

NOTHING = Fraction(0)


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
