"""Exact numbers: how a quantity is read from an event and how decimals are added and shown.

Never a float, and never the thread's decimal context, which would round at 28 digits in silence.
"""

import re
from collections.abc import Sequence
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
)

# An input has at most 38 digits before and 38 after the point: every currency and every unit of
# measure fits, and no text of ten bytes ("1e999999999") can make a sum as long as the memory.
INTEGER_DIGITS_MAX = 38
FRACTION_DIGITS_MAX = 38

# The longest amount: 10^20 quantities, each an input, times an adjusted price (an input times one
# plus an input), times an adjusted fraction of a composite, times a conversion factor:
# 76 + 20 + 152 + 152 + 76 digits. (A prorated one has 8 for the days, but no 10^20 quantities.)
# 600 leaves room; should anything ever need more, Inexact and
# Rounded are trapped and the process stops rather than rounds.
EXACT = Context(
    prec=600,
    rounding=ROUND_HALF_EVEN,
    traps=[Inexact, Rounded, Overflow, InvalidOperation, DivisionByZero],
)

ZERO = Decimal(0)

# Whole numbers may stay int, which adds faster; EXACT.add takes both.
Number = int | Decimal

_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_SHORT_INTEGER_LENGTH_MAX = 18
_SHORT_INTEGER_MAX = 10**_SHORT_INTEGER_LENGTH_MAX
# 38 + 38 digits, sign, point and an exponent fit; longer text is refused before it is parsed.
_TEXT_LENGTH_MAX = 128


def in_bounds(number: Decimal) -> bool:
    """Whether a finite decimal has no more digits on either side than an input may have.

    Zero too: 0e999999999999999999 is a zero that no database takes.
    """
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < -FRACTION_DIGITS_MAX:
        return False
    return number.adjusted() < INTEGER_DIGITS_MAX


def parse_number(value: object) -> Decimal | None:
    """The exact number that a property holds, or None when it holds none.

    JSON numbers (int or Decimal, as the codec reads them) and numeric text both count; true and
    false, the empty string, "NaN", "Infinity" and numbers beyond the digit limits do not.
    """
    if type(value) is str:
        if len(value) <= _SHORT_INTEGER_LENGTH_MAX and value.isdigit() and value.isascii():
            return Decimal(value)
        if len(value) > _TEXT_LENGTH_MAX or _NUMBER.fullmatch(value) is None:
            return None
        number = Decimal(value)
    elif type(value) is int:
        # 2^127 has 39 digits: int.bit_length spares making text of a huge integer.
        if value.bit_length() > 127:
            return None
        number = Decimal(value)
    elif type(value) is Decimal and value.is_finite():
        number = value
    else:
        return None
    return number if in_bounds(number) else None


def parse_numbers(values: Sequence[object]) -> list[Number | None]:
    """`parse_number` of every value, equal in value. Short whole numbers without a sign, all of
    them text or all of them JSON integers, are what events mostly hold; they are read at once."""
    kinds = set(map(type, values))
    if kinds == {str}:
        texts: Sequence[str] = values  # type: ignore[assignment]  # as was just seen
        digits = "".join(texts)
        # An empty text adds no character, so it is looked for by itself.
        plain = digits.isascii() and digits.isdigit() and all(texts)
        if plain and max(map(len, texts)) <= _SHORT_INTEGER_LENGTH_MAX:
            return list(map(int, texts))
    elif kinds == {int}:
        whole: Sequence[int] = values  # type: ignore[assignment]  # as was just seen
        if max(map(abs, whole)) < _SHORT_INTEGER_MAX:
            return list(whole)
    return [parse_number(value) for value in values]


def add(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum; raises decimal.Inexact rather than round."""
    return EXACT.add(left, right)


def subtract(left: Decimal, right: Decimal) -> Decimal:
    """The exact difference; raises decimal.Inexact rather than round."""
    return EXACT.subtract(left, right)


def multiply(left: Decimal, right: Decimal) -> Decimal:
    """The exact product; raises decimal.Inexact rather than round."""
    return EXACT.multiply(left, right)


def plain(number: Decimal) -> Decimal:
    """The same number without exponent and without trailing zeros: 6E+3 and 6000.0 give 6000."""
    if number.is_zero():
        return ZERO
    reduced = number.normalize(EXACT)
    exponent = reduced.as_tuple().exponent
    if isinstance(exponent, int) and exponent > 0:
        return reduced.quantize(Decimal(1), context=EXACT)
    return reduced


def text_of(number: Decimal) -> str:
    """Positional notation of `plain(number)`: 6000, 0.1, never 6E+3."""
    return format(plain(number), "f")
