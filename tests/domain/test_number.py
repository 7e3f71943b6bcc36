"""Numbers are exact: what is read, added, multiplied and shown equals a fraction's arithmetic."""

import re
from decimal import Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.domain.number import (
    add,
    in_bounds,
    multiply,
    parse_number,
    parse_numbers,
    plain,
    subtract,
    text_of,
)
from tests.domain.strategies import decimals

POSITIONAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")

digits = st.text("0123456789", min_size=0, max_size=45)


@st.composite
def numerals(draw: st.DrawFn) -> tuple[str, Fraction, bool]:
    """A number's text, its value by hand, and whether it is within the limits."""
    whole, tail = draw(digits), draw(st.none() | digits)
    if not whole and not tail:
        whole = "0"
    exponent = draw(st.none() | st.integers(-90, 90))
    negative = draw(st.booleans())
    text = ("-" if negative else "") + whole
    text += "" if tail is None else f".{tail}"
    text += "" if exponent is None else f"e{exponent}"
    coefficient = int(whole + (tail or ""))
    lowest = (exponent or 0) - len(tail or "")
    value = Fraction(coefficient) * Fraction(10) ** lowest * (-1 if negative else 1)
    fits = lowest >= -38 and len(str(coefficient)) + lowest <= 38
    return text, value, fits


@given(numerals())
def test_a_numeral_is_read_exactly_or_refused_for_its_size(
    numeral: tuple[str, Fraction, bool],
) -> None:
    text, value, fits = numeral
    number = parse_number(text)
    assert (number is not None) is fits
    if number is not None:
        assert Fraction(number) == value


@given(st.integers(-(10**40), 10**40))
def test_an_integer_is_read_exactly_or_refused_for_its_size(value: int) -> None:
    number = parse_number(value)
    assert (number is not None) is (abs(value) < 10**38)
    if number is not None:
        assert Fraction(number) == value
    assert parse_number(str(value)) == number


@pytest.mark.parametrize(
    "value",
    [
        "9" * 38,
        "-" + "9" * 38 + "." + "9" * 38,
        "0." + "0" * 37 + "1",
        "1e37",
        "1E-38",
        "+5",
        ".5",
        "5.",
        10**38 - 1,
        Decimal("1E+37"),
        "0" * 100,
        "-0",
    ],
)
def test_the_largest_and_smallest_numbers_are_read(value: object) -> None:
    assert parse_number(value) == Decimal(str(value))


@pytest.mark.parametrize(
    "value",
    [
        "9" * 39,
        "0." + "0" * 38 + "1",
        "0." + "0" * 39,
        "1e38",
        "1e-39",
        "1e9999",
        "1e99999999999",
        "0e9999",
        10**38,
        -(10**400),
        Decimal("1E+38"),
        Decimal("1E-39"),
        Decimal("1E+99999999999"),
        "0" * 129,
    ],
)
def test_numbers_beyond_the_digits_are_refused(value: object) -> None:
    assert parse_number(value) is None


@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        None,
        "",
        " ",
        "5 ",
        " 5",
        "5\n",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "1,000",
        "1_000",
        "0x10",
        "\uff15",  # a fullwidth 5
        "\u0665",  # an Arabic 5
        "\u00b2",  # a superscript 2
        "1e",
        "e5",
        ".",
        "-",
        "--5",
        "5000 bytes",
        Decimal("NaN"),
        Decimal("Infinity"),
        1.5,
        [5],
        {"n": 5},
    ],
)
def test_what_is_not_a_number(value: object) -> None:
    assert parse_number(value) is None


@pytest.mark.parametrize("text", ["0e999999999999999999", "0e38", "-0e9999", "0e-39"])
def test_a_zero_with_an_exponent_that_no_database_takes_is_out_of_bounds(text: str) -> None:
    assert not in_bounds(Decimal(text))


@given(decimals(), decimals())
def test_sum_difference_and_product_are_exact_whatever_the_threads_context(
    left: Decimal, right: Decimal
) -> None:
    with localcontext(prec=3):
        results = add(left, right), subtract(left, right), multiply(left, right)
    fractions = Fraction(left), Fraction(right)
    assert Fraction(results[0]) == fractions[0] + fractions[1]
    assert Fraction(results[1]) == fractions[0] - fractions[1]
    assert Fraction(results[2]) == fractions[0] * fractions[1]


def test_what_cannot_be_exact_raises_and_is_never_rounded() -> None:
    huge = Decimal("9" * 450)
    with pytest.raises(Inexact):
        multiply(huge, huge)
    with pytest.raises(Inexact):
        add(Decimal("1e599"), Decimal("1e-10"))


@given(decimals() | decimals().map(lambda d: d.scaleb(30)) | decimals(5, 0).map(Decimal.normalize))
def test_plain_keeps_the_value_and_text_shows_it_without_exponent(number: Decimal) -> None:
    assert Fraction(plain(number)) == Fraction(number)
    assert plain(plain(number)) == plain(number)
    assert POSITIONAL.fullmatch(text_of(number))
    assert Fraction(text_of(number)) == Fraction(number)
    exponent = plain(number).as_tuple().exponent
    assert isinstance(exponent, int)
    assert exponent <= 0


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("6E+3", "6000"),
        ("6000.000", "6000"),
        ("0.10", "0.1"),
        ("-0.0", "0"),
        ("0E+9", "0"),
        ("1E-38", "0." + "0" * 37 + "1"),
        ("-1.50E+2", "-150"),
    ],
)
def test_text_of_examples(number: str, text: str) -> None:
    assert text_of(Decimal(number)) == text


# Each column is nearly one of those that are read at once: one value of another kind among them.
ODD_VALUES = st.sampled_from(
    [
        *("", " 5", "1_0", "\u0665", "\u00b2", "+5", "-5", "5.", "1e3", "007", "9" * 18, "9" * 19),
        *(True, None, Decimal("0.5"), 5, -5, 10**18, 10**38, -(10**39), [5], {"a": 5}),
    ]
)
columns = st.one_of(
    st.lists(st.integers(0, 10**20).map(str) | ODD_VALUES, max_size=6),
    st.lists(st.integers(0, 999).map(str), min_size=1, max_size=6),
    st.lists(st.integers(-(10**20), 10**20) | ODD_VALUES, max_size=6),
    st.lists(st.integers(-999, 999), min_size=1, max_size=6),
)


@given(columns)
@example(["", "5"])
@example(["5", "\u0665"])
@example(["5", "9" * 19])
@example([5, True])
@example([5, -(10**18), 10**38])
def test_numbers_read_at_once_are_those_read_one_by_one(column: list[object]) -> None:
    assert parse_numbers(column) == [parse_number(value) for value in column]
