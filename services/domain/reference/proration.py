"""The oracle's proration. Of n days of a period of m, the first k parts of all fixed charges of an
invoice come to n/m of what they come to without it, whatever k: rounded at the 20th place or, where
an amount has more than 12, at the 8th after its last. A part is what it adds to the parts before.
"""

from collections.abc import Mapping
from itertools import accumulate, pairwise

from services.domain.reference.lines import NOTHING, ChargeAmount
from services.domain.reference.numbers import half_away, places_of

QUANTITY_PLACES = 20


def prorated(fixed: Mapping[int, ChargeAmount], days: tuple[int, int]) -> dict[int, ChargeAmount]:
    """The fixed charges of an invoice by their place, in order, for (days held, days whole)."""
    held, whole = days
    if held == whole:
        return dict(fixed)
    amounts = [tier.subtotal for charge in fixed.values() for tier in charge.tiers]
    places = max([20, *(places_of(amount) + 8 for amount in amounts)])
    firsts = accumulate(amounts, initial=NOTHING)
    shares = [half_away(first * held / whole, places) for first in firsts]
    parts = iter([after - before for before, after in pairwise(shares)])
    found = {}
    for place, charge in fixed.items():
        tiers = tuple(
            tier._replace(
                quantity=half_away(tier.quantity * held / whole, QUANTITY_PLACES),
                subtotal=next(parts),
            )
            for tier in charge.tiers
        )
        quantity = sum((tier.quantity for tier in tiers), NOTHING)
        subtotal = sum((tier.subtotal for tier in tiers), NOTHING)
        found[place] = ChargeAmount(charge.charge_id, quantity, tiers, subtotal)
    return found
