"""Unit conversion of a metered quantity. Exact but for the one stated rounding of quantities.

Metronome: divided by the factor; floor or ceiling to a whole number when told so, otherwise the
quantity is rounded to 20 decimal places (METRONOME 4.6).
"""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from services.domain.plan import RoundingBehavior, UnitConversion

QUANTITY_PLACES = 20


def convert(quantity: Decimal, conversion: UnitConversion | None) -> Decimal:
    """The quantity to price, in the charge's unit."""
    if conversion is None:
        return quantity
    exact = Fraction(quantity) / Fraction(conversion.division_factor)
    if conversion.rounding is RoundingBehavior.FLOOR:
        return Decimal(floor(exact))
    if conversion.rounding is RoundingBehavior.CEILING:
        return Decimal(ceil(exact))
    return _rounded(exact)


def _rounded(exact: Fraction) -> Decimal:
    """Half away from zero at the 20th place."""
    scaled = abs(exact) * 10**QUANTITY_PLACES
    whole = floor(scaled + Fraction(1, 2))
    # The tuple form is exact at any length; scaleb would round to a context.
    digits = tuple(int(digit) for digit in str(whole))
    return Decimal((int(exact < 0), digits, -QUANTITY_PLACES))
