"""Tiers that run on, fall back and count by volume."""

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.plan import Tier, Tiering
from services.domain.pricing.tiers import TierLine, graduated, tier_lines
from tests.domain.plan_parts import tiers_of
from tests.domain.strategies import decimals
from tests.domain.test_pricing import tier_tables

GIGABYTE = tiers_of(("0", "10"), ("100", "9"), ("1000", "8"))


def parts(lines: list[TierLine]) -> list[tuple[str, str]]:
    return [(str(line.starts_after), str(line.quantity)) for line in lines]


@pytest.mark.parametrize(
    ("offset", "quantity", "expected"),
    [
        ("0", "100", [("0", "100")]),
        ("100", "1", [("100", "1")]),  # the next unit after an end is beyond it
        ("99", "2", [("0", "1"), ("100", "1")]),
        ("50", "1000", [("0", "50"), ("100", "900"), ("1000", "50")]),
        ("2000", "5", [("1000", "5")]),
        ("100", "0", [("0", "0")]),  # at an end one still stands in the tier below
        ("101", "0", [("100", "0")]),
        ("101", "-2", [("0", "-1"), ("100", "-1")]),  # each at the price where it stood
        ("100", "-1", [("0", "-1")]),
        ("1001", "-1", [("1000", "-1")]),
        ("1500", "-1500", [("0", "-100"), ("100", "-900"), ("1000", "-500")]),
        ("0", "-5", [("0", "-5")]),
        ("5", "-10", [("0", "-10")]),
        ("-5", "110", [("0", "105"), ("100", "5")]),
    ],
)
def test_graduated_tiers_from_an_offset(
    offset: str, quantity: str, expected: list[tuple[str, str]]
) -> None:
    assert parts(graduated(Decimal(quantity), GIGABYTE, Decimal(offset))) == expected


@pytest.mark.parametrize(
    ("offset", "quantity", "tier"),
    [
        ("0", "0", "0"),
        ("0", "100", "0"),
        ("0", "100.1", "100"),
        ("0", "1000", "100"),
        ("0", "1001", "1000"),
        ("0", "-5", "0"),
        ("999", "1", "100"),
        ("999", "2", "1000"),
        ("1500", "-600", "100"),  # what is given back has the price of where it ends
    ],
)
def test_by_volume_all_units_have_the_price_of_the_tier_that_is_reached(
    offset: str, quantity: str, tier: str
) -> None:
    lines = tier_lines(Decimal(quantity), GIGABYTE, Tiering.VOLUME, Decimal(offset))
    assert parts(lines) == [(tier, quantity)]


def amount(lines: list[TierLine]) -> Fraction:
    return sum((Fraction(line.subtotal) for line in lines), Fraction(0))


@given(tier_tables(), st.lists(decimals(8, 8), max_size=5), decimals(8, 8))
def test_a_quantity_in_parts_costs_what_the_whole_costs(
    tiers: tuple[Tier, ...], increments: list[Decimal], offset: Decimal
) -> None:
    """So neither batching nor the way up and down changes an invoice."""
    marks = [offset]
    for increment in increments:
        marks.append(marks[-1] + increment)
    stepwise = sum(
        (amount(graduated(b - a, tiers, a)) for a, b in pairwise(marks)), start=Fraction(0)
    )
    assert stepwise == amount(graduated(marks[-1] - offset, tiers, offset))


@given(tier_tables(), decimals(8, 8), decimals(8, 8))
def test_a_rise_and_the_same_fall_cancel_out_tier_by_tier(
    tiers: tuple[Tier, ...], offset: Decimal, rise: Decimal
) -> None:
    up = graduated(rise, tiers, offset)
    down = graduated(-rise, tiers, offset + rise)
    assert amount(up) == -amount(down)
    if rise:
        assert [(t.starts_after, t.quantity) for t in up] == [
            (t.starts_after, -t.quantity) for t in down
        ]


@pytest.mark.parametrize("tiering", Tiering)
@given(tiers=tier_tables(), quantity=decimals(8, 8), offset=decimals(8, 8))
def test_the_lines_are_the_quantity(
    tiering: Tiering, tiers: tuple[Tier, ...], quantity: Decimal, offset: Decimal
) -> None:
    lines = tier_lines(quantity, tiers, tiering, offset)
    assert sum(Fraction(line.quantity) for line in lines) == Fraction(quantity)
    assert len(lines) >= 1
    assert all(line.quantity * quantity > 0 for line in lines) or quantity == 0
