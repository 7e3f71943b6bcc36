"""Numbers for the oracle: kept as they were written, worth a Fraction. Never a decimal context."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

# Stated bounds of an input: 38 digits before and 38 after the point, at most 128 characters of
# text and 4 digits of exponent in it.
PLACES_MAX = 38
TEXT_MAX = 128
EXPONENT_DIGITS_MAX = 4
DIGITS = frozenset("0123456789")


@dataclass(frozen=True, slots=True)
class Number:
    """`digits` x 10 to the power of `exponent`, with a sign; as written, so 1.50 is 150 x 10^-2."""

    negative: bool
    digits: str  # no zeros in front; "0" for zero
    exponent: int
    whole: bool = True  # written without point and exponent: an integer of JSON

    @property
    def in_bounds(self) -> bool:
        """No more places on either side than an input may have; written zeros count."""
        leading = self.exponent + len(self.digits) - 1
        return self.exponent >= -PLACES_MAX and leading < PLACES_MAX

    @property
    def value(self) -> Fraction:
        """The exact number; only for one in bounds, or its power of ten may fill the memory."""
        assert self.in_bounds, "an exact value is only taken of a number in bounds"
        whole = int(self.digits) * (-1 if self.negative else 1)
        power = Fraction(10) ** self.exponent
        return whole * power


def written(text: str) -> Number | None:
    """A number from its text: sign, digits, at most one point, exponent; None for other text."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    rest = text.removeprefix(sign)
    mantissa, has_exponent, exponent = rest.replace("E", "e").partition("e")
    before, point, after = mantissa.partition(".")
    if not (before or after) or not DIGITS.issuperset(before + after):
        return None
    power = 0
    if has_exponent:
        bare = exponent[1:] if exponent[:1] in ("+", "-") else exponent
        if not bare or not DIGITS.issuperset(bare):
            return None
        # No text is long enough for an exponent of 30 digits to come back into the bounds.
        power = int(bare.lstrip("0")[:30] or "0") * (-1 if exponent[:1] == "-" else 1)
    digits = (before + after).lstrip("0") or "0"
    whole = not point and not has_exponent
    return Number(sign == "-", digits, power - len(after), whole)


def number_of(value: object) -> Fraction | None:
    """What SUM, MAX and LATEST read in a property; None when it holds no number in bounds."""
    if isinstance(value, str):
        if len(value) > TEXT_MAX or not value.isascii():
            return None
        exponent = value.lower().partition("e")[2].lstrip("+-")
        if len(exponent) > EXPONENT_DIGITS_MAX:
            return None
        number = written(value)
    elif isinstance(value, Number):
        number = value
    else:
        return None
    return number.value if number is not None and number.in_bounds else None


def plain_text(value: Fraction) -> str:
    """Positional notation of a fraction whose decimals end: no exponent, no zeros at the end."""
    places = places_of(value)
    digits = str(abs((value * 10**places).numerator)).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    if places == 0:
        return sign + digits
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def places_of(value: Fraction) -> int:
    """How many places after the point a fraction has whose decimals end."""
    places = 0
    while (value * 10**places).denominator != 1:
        places += 1
    return places


def half_away(value: Fraction, places: int) -> Fraction:
    """Rounded to so many decimal places, the half away from zero."""
    scale = Fraction(10) ** places
    whole = floor(abs(value) * scale + Fraction(1, 2))
    return (whole if value >= 0 else -whole) / scale
