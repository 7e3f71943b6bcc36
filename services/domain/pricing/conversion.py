"""Unit conversion of a metered quantity. Exact but for the one stated rounding of quantities.

Metronome: divided by the factor; floor or ceiling to a whole number when told so, otherwise the
quantity is rounded to 20 decimal places (METRONOME 4.6).
"""

from decimal import Decimal

from services.domain.plan import RoundingBehavior, UnitConversion

QUANTITY_PLACES = 20
_PLACES = 10**QUANTITY_PLACES


def convert(quantity: Decimal, conversion: UnitConversion | None) -> Decimal:
    """The quantity to price, in the charge's unit."""
    if conversion is None:
        return quantity
    # Whole numbers stand for the exact fraction: a quotient of Decimals would be rounded.
    above, below = quantity.as_integer_ratio()
    factor_above, factor_below = conversion.division_factor.as_integer_ratio()
    above *= factor_below
    below *= factor_above
    if below < 0:
        above, below = -above, -below
    if conversion.rounding is RoundingBehavior.FLOOR:
        return Decimal(above // below)
    if conversion.rounding is RoundingBehavior.CEILING:
        return Decimal(-(-above // below))
    return _rounded(above, below)


def _rounded(above: int, below: int) -> Decimal:
    """Half away from zero at the 20th place."""
    whole = (2 * abs(above) * _PLACES + below) // (2 * below)
    # Read from text it is exact at any length; scaleb would round to a context.
    return Decimal(f"{'-' if above < 0 else ''}{whole}E-{QUANTITY_PLACES}")
