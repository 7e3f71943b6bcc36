"""The one rounding of quotients. One that does not come out even keeps 20 decimal places, the half
away from zero, as Metronome documents it for unit conversion (METRONOME 3.3); proration follows,
and keeps more where an amount has more (`proration`). Everything after it is exact, so lines and
totals reconcile to the last digit.

Whole numbers stand for the exact quotient: one of Decimals would be rounded by a context.
"""

from decimal import Decimal

QUANTITY_PLACES = 20


def quotient(quantity: Decimal, divisor: Decimal) -> tuple[int, int]:
    """The exact quotient as a fraction of whole numbers, the lower one above zero."""
    above, below = quantity.as_integer_ratio()
    divisor_above, divisor_below = divisor.as_integer_ratio()
    above *= divisor_below
    below *= divisor_above
    return (above, below) if below > 0 else (-above, -below)


def rounded(above: int, below: int, places: int = QUANTITY_PLACES) -> Decimal:
    """The number of so many places nearest to above / below, the half away from zero."""
    whole = (2 * abs(above) * 10**places + below) // (2 * below)
    # Read from text it is exact at any length; scaleb would round to a context.
    return Decimal(f"{'-' if above < 0 else ''}{whole}E-{places}")
