"""Money is rounded once, half up, to the unit's places; everything before stays exact."""

from decimal import Decimal
from fractions import Fraction
from math import floor
from uuid import UUID

import pytest
from hypothesis import given

from services.domain.money import CURRENCIES, USD_CENTS, CreditType, round_total
from services.domain.plan import Charge, Plan, Tier
from services.domain.pricing.invoice import price_invoice
from tests.domain.strategies import decimals

EUR_ID = "1c475899-09b3-5c1d-b62f-404b15bf01fe"  # stored: it must never change
MILLS = CreditType(UUID(int=5), "mills", 3)


@given(decimals())
def test_a_total_is_rounded_half_away_from_zero(amount: Decimal) -> None:
    size = floor(abs(Fraction(amount)) + Fraction(1, 2))
    assert round_total(amount, USD_CENTS) == (size if amount >= 0 else -size)


@pytest.mark.parametrize(
    ("amount", "total"),
    [
        ("0.5", "1"),
        ("1.5", "2"),
        ("2.5", "3"),  # not to even
        ("0.4" + "9" * 60, "0"),
        ("-0.5", "-1"),
        ("-2.5", "-3"),
        ("-0.4", "0"),
        ("60", "60"),
        ("1E+3", "1000"),
    ],
)
def test_whole_cents(amount: str, total: str) -> None:
    assert str(round_total(Decimal(amount), USD_CENTS)) == total


def test_a_unit_keeps_its_places() -> None:
    assert str(round_total(Decimal("1.0005"), MILLS)) == "1.001"
    assert str(round_total(Decimal("-1.0005"), MILLS)) == "-1.001"
    assert str(round_total(Decimal("2"), MILLS)) == "2"


def test_only_dollars_are_in_cents_and_every_currency_has_its_own_id() -> None:
    dollars, *others = CURRENCIES
    assert dollars == USD_CENTS
    assert {currency.decimal_places for currency in others} == {2}
    assert len({currency.id for currency in CURRENCIES}) == len(CURRENCIES)
    assert str(next(c.id for c in others if c.name == "EUR")) == EUR_ID


def test_an_amount_as_long_as_sums_of_products_get_is_rounded_exactly() -> None:
    amount = Decimal("9" * 150 + "." + "9" * 200)
    assert round_total(amount, USD_CENTS) == Decimal("1" + "0" * 150)


def test_an_invoice_is_rounded_once_and_not_line_by_line() -> None:
    """Three products of 0.4 cents are 1.2 cents: one cent, where rounding each would give none."""
    charges = tuple(
        Charge(UUID(int=n), "c", UUID(int=n), "p", UUID(int=n), (Tier(Decimal(0), Decimal("0.4")),))
        for n in range(1, 4)
    )
    plan = Plan(UUID(int=9), "plan", USD_CENTS, charges)
    invoice = price_invoice(plan, {UUID(int=n): Decimal(1) for n in range(1, 4)})
    assert [line.total for line in invoice.lines] == [Decimal("0.4")] * 3
    assert invoice.subtotal == Decimal("1.2")
    assert invoice.total == 1
