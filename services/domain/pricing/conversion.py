"""Unit conversion of a metered quantity, and the started blocks of a package price.

Metronome: divided by the factor; floor or ceiling to a whole number when told so, otherwise the
quantity is rounded to 20 decimal places (METRONOME 4.6). A package is counted after that, in blocks
of which each that was started counts; tiers then count blocks.
"""

from decimal import Decimal

from services.domain.plan import RoundingBehavior, UnitConversion
from services.domain.pricing.quantity import quotient, rounded


def convert(quantity: Decimal, conversion: UnitConversion | None) -> Decimal:
    """The quantity to price, in the charge's unit."""
    if conversion is None:
        return quantity
    above, below = quotient(quantity, conversion.division_factor)
    if conversion.rounding is RoundingBehavior.FLOOR:
        return Decimal(above // below)
    if conversion.rounding is RoundingBehavior.CEILING:
        return Decimal(-(-above // below))
    return rounded(above, below)


def started_blocks(quantity: Decimal, package_size: Decimal | None) -> Decimal:
    """How many blocks were started; the quantity itself where the price is per unit.

    A decrease gives back only the blocks that it empties: -15 of blocks of 10 gives -1.
    """
    if package_size is None:
        return quantity
    above, below = quotient(quantity, package_size)
    return Decimal(-(-above // below))
