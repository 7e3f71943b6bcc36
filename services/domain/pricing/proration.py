"""Proration by day of what is not metered: a fixed charge of a plan that starts or ends inside a
period is due for the share of the period's days that the plan holds.

Tiers are of the whole quantity, and then each tier's part is prorated: ten seats at one price and
five at the next stay that, for half a month at half each. A part that does not come out even is
rounded as every quantity is (`quantity`), and its amount is exact from there.
"""

from collections.abc import Iterable

from services.domain.number import multiply
from services.domain.pricing.quantity import rounded
from services.domain.pricing.tiers import TierLine


def prorated(lines: Iterable[TierLine], days_held: int, days_whole: int) -> list[TierLine]:
    """The same tiers with their share of the quantity."""
    parts = []
    for line in lines:
        above, below = line.quantity.as_integer_ratio()
        quantity = rounded(above * days_held, below * days_whole)
        amount = multiply(quantity, line.price)
        parts.append(TierLine(line.starts_after, quantity, line.price, amount))
    return parts
