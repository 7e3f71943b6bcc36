"""Proration by day of what is not metered: fixed charges of a plan that starts or ends inside a
period are due for the share of the period's days that the plan holds.

Tiers are of the whole quantity, and then each tier's amount is prorated: ten seats at one price and
five at the next stay that, for half a month at half each. Amounts are prorated and not quantities:
a quantity that does not come out even would be rounded before it is multiplied, and an exact half
of a cent become a little less. Nor each amount by itself: three that do not come out even may do so
together. So each part is the difference between two running sums over all prorated parts of the
invoice, and the parts add up to the exact share of all of them, rounded once.
"""

from collections.abc import Sequence
from decimal import Decimal

from services.domain.number import EXACT, ZERO, add, subtract
from services.domain.pricing.charge import ChargeLine, sum_of
from services.domain.pricing.quantity import QUANTITY_PLACES, rounded

AMOUNT_PLACES = 20
# What comes out even after a division by the days of a period, 366 at most, has no more than 8
# places more than before it: 256 is 2^8. And what does not is further than the rounding from every
# number of as many places as before, such as the half of a cent: 10^8 is far more than 366.
DAYS_PLACES = 8


def prorated(
    charges: Sequence[ChargeLine], days_held: int, days_whole: int
) -> tuple[ChargeLine, ...]:
    """The fixed charges of one invoice, in the order in which they are priced, for their share of
    the days. The quantities are for display, each rounded as every quantity is.

    All running sums keep as many places, so an amount of at least 0 stays one.
    """
    amounts = [tier.subtotal for line in charges for tier in line.tiers]
    places = max(AMOUNT_PLACES, DAYS_PLACES + max(map(_places, amounts), default=0))
    whole = share = ZERO
    found = []
    for line in charges:
        tiers = []
        for tier in line.tiers:
            before, whole = share, add(whole, tier.subtotal)
            share = _share(whole, days_held, days_whole, places)
            quantity = _share(tier.quantity, days_held, days_whole, QUANTITY_PLACES)
            tiers.append(tier._replace(quantity=quantity, subtotal=subtract(share, before)))
        found.append(
            line._replace(
                quantity=sum_of(tier.quantity for tier in tiers),
                tiers=tuple(tiers),
                subtotal=sum_of(tier.subtotal for tier in tiers),
            )
        )
    return tuple(found)


def _share(number: Decimal, days_held: int, days_whole: int, places: int) -> Decimal:
    above, below = number.as_integer_ratio()
    return rounded(above * days_held, below * days_whole, places)


def _places(number: Decimal) -> int:
    """How many places after the point a number needs."""
    exponent = number.normalize(EXACT).as_tuple().exponent
    assert isinstance(exponent, int), f"{number} is no number"
    return max(-exponent, 0)
