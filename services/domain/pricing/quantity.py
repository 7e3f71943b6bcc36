"""The one rounding of quantities. A quotient that does not come out even keeps 20 decimal places,
the half away from zero, as Metronome documents it for unit conversion (METRONOME 3.3); proration
follows. Everything after it is exact, so lines and totals reconcile to the last digit.
"""

from decimal import Decimal
from fractions import Fraction
from math import floor

QUANTITY_PLACES = 20


def rounded(exact: Fraction) -> Decimal:
    """The quantity that is nearest, half away from zero at the 20th place."""
    scaled = abs(exact) * 10**QUANTITY_PLACES
    whole = floor(scaled + Fraction(1, 2))
    # The tuple form is exact at any length; scaleb would round to a context.
    digits = tuple(int(digit) for digit in str(whole))
    return Decimal((int(exact < 0), digits, -QUANTITY_PLACES))
