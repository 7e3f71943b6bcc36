"""What applies to an invoice as a whole: minimums, trials, custom pricing units."""

from decimal import Decimal
from uuid import UUID

import pytest

from services.domain.money import USD_CENTS, CreditType
from services.domain.number import text_of
from services.domain.plan import ChargeType, Minimum, OverageRate
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.invoice import Credits, PricedInvoice, price_period
from services.domain.pricing.reconcile import reconcile
from services.domain.pricing.terms import trial_plan
from services.domain.pricing.whole import TrialTerms
from tests.domain.plan_parts import TOKENS, billed, charge, grant, plan, price, used

EUROS = CreditType(UUID(int=71), "EUR", 2)
LEAST = plan(charge(("0", "10")), minimums=(Minimum("Monthly minimum", Decimal(1000), USD_CENTS),))


def shown(invoice: PricedInvoice) -> list[tuple[str, str]]:
    return [(each.name, text_of(each.amount)) for each in invoice.adjustments]


@pytest.mark.parametrize(
    ("quantity", "adjustments", "total"),
    [
        ("0", [("Monthly minimum", "1000")], 1000),
        ("60", [("Monthly minimum", "400")], 1000),
        ("99.99", [("Monthly minimum", "0.1")], 1000),
        ("100", [], 1000),
        ("150", [], 1500),
        ("-5", [("Monthly minimum", "1050")], 1000),
    ],
)
def test_a_minimum_is_what_the_subtotal_lacks(
    quantity: str, adjustments: list[tuple[str, str]], total: int
) -> None:
    invoice = price(LEAST, used(quantity))
    assert shown(invoice) == adjustments
    assert invoice.total == total
    assert reconcile(LEAST, invoice) == []


def test_credits_count_towards_a_minimum_and_do_not_pay_it() -> None:
    """600 of usage, 500 of credits, a minimum of 1,000: 400 are added, the credits pay 500."""
    available = Credits([AvailableGrant(grant("500"), Decimal(500))])
    invoice = price_period(LEAST, used("60"), billed(), available=available)
    assert shown(invoice) == [("Monthly minimum", "400"), ("grant 1", "-500")]
    assert invoice.total == 500
    plenty = Credits([AvailableGrant(grant("5000"), Decimal(5000))])
    assert price_period(LEAST, used("60"), billed(), available=plenty).total == 400


@pytest.mark.parametrize(
    ("cap", "total"), [(None, 0), (Decimal(5000), 0), (Decimal(100), 500), (Decimal(0), 600)]
)
def test_a_trial_is_free_up_to_its_cap(cap: Decimal | None, total: int) -> None:
    tried = trial_plan(plan(*LEAST.charges, charge(number=2, charge_type=ChargeType.FIXED)))
    invoice = price_period(tried, used("60"), billed(trial=True), TrialTerms(cap))
    assert [name for name, _ in shown(invoice)] == ["Trial"]
    assert invoice.subtotal == 600
    assert invoice.total == total


def test_a_trial_takes_nothing_off_a_negative_subtotal() -> None:
    invoice = price_period(
        trial_plan(LEAST), used("-60"), billed(trial=True), TrialTerms(Decimal(5))
    )
    assert invoice.total == -600


def test_a_trial_comes_before_credits() -> None:
    available = Credits([AvailableGrant(grant("250"), Decimal(250))])
    invoice = price_period(
        trial_plan(LEAST), used("60"), billed(trial=True), TrialTerms(Decimal(400)), available
    )
    assert shown(invoice) == [("Trial", "-400"), ("grant 1", "-200")]
    assert invoice.total == 0


def test_trial_terms_belong_to_a_trial_and_to_nothing_else() -> None:
    with pytest.raises(AssertionError):
        price_period(LEAST, used("1"), billed(trial=True))
    with pytest.raises(AssertionError):
        price_period(LEAST, used("1"), billed(), TrialTerms())


CUSTOM = plan(
    charge(("0", "0.5")),
    unit=TOKENS,
    overage_rates=(OverageRate(TOKENS, USD_CENTS, Decimal(16)),),
)


def test_what_is_left_of_a_custom_unit_is_converted() -> None:
    invoice = price(CUSTOM, used("2001"))
    assert invoice.subtotal == Decimal("1000.5")
    assert invoice.conversion is not None
    assert invoice.conversion.quantity == Decimal("1000.5")
    assert invoice.conversion.factor == 16
    assert invoice.total == 16_008
    assert invoice.unit == USD_CENTS


def test_a_converted_total_has_the_places_of_the_currency() -> None:
    tenths = plan(
        charge(("0", "0.1")),
        unit=TOKENS,
        overage_rates=(OverageRate(TOKENS, USD_CENTS, Decimal(3)),),
    )
    invoice = price(tenths, used("5"))
    assert invoice.due == Decimal("1.5")
    assert invoice.total == 2


def test_credits_in_a_custom_unit_are_used_before_the_conversion_and_others_not_at_all() -> None:
    tokens = AvailableGrant(grant("900", unit=TOKENS), Decimal(900))
    cents = AvailableGrant(grant("900", number=2), Decimal(900))
    invoice = price_period(CUSTOM, used("2000"), billed(), available=Credits([tokens, cents]))
    assert shown(invoice) == [("grant 1", "-900")]
    assert invoice.total == 1600


def test_a_minimum_in_the_currency_is_of_everything_that_was_used() -> None:
    least = plan(
        *CUSTOM.charges,
        unit=TOKENS,
        overage_rates=CUSTOM.overage_rates,
        minimums=(Minimum("cash", Decimal(20_000), USD_CENTS), Minimum("t", Decimal(1), TOKENS)),
    )
    tokens = Credits([AvailableGrant(grant("900", unit=TOKENS), Decimal(900))])
    invoice = price_period(least, used("2000"), billed(), available=tokens)
    assert shown(invoice) == [("grant 1", "-900"), ("cash", "4000")]
    assert invoice.total == 5600
    assert reconcile(least, invoice) == []


def test_without_a_rate_a_custom_unit_is_the_unit_of_the_total() -> None:
    invoice = price(plan(charge(("0", "0.333")), unit=TOKENS), used("1"))
    assert (invoice.total, invoice.unit) == (Decimal("0.33"), TOKENS)


def test_other_currencies_are_in_whole_units_and_keep_their_places() -> None:
    invoice = price(plan(charge(("0", "0.0125")), unit=EUROS), used("1001"))
    assert invoice.due == Decimal("12.5125")
    assert invoice.total == Decimal("12.51")


@pytest.mark.parametrize(
    ("quantity", "price_of_one", "factor", "unit_minimum", "adjustments"),
    [
        ("0", "1", "1", "10", [("t", "10")]),  # the one minimum is the other
        ("3", "1.5", "0.333", "20", [("t", "15.5"), ("cash", "3.34")]),
        ("3", "1.5", "0.333", "4", [("cash", "8.5015")]),
        ("3", "1.5", "1", "20", [("t", "15.5")]),
        ("40", "1.5", "1", "20", []),
    ],
)
def test_a_minimum_in_the_currency_counts_what_the_one_in_the_unit_adds(
    quantity: str,
    price_of_one: str,
    factor: str,
    unit_minimum: str,
    adjustments: list[tuple[str, str]],
) -> None:
    """Both are what the invoice comes to at least: they are not billed on top of each other."""
    least = plan(
        charge(("0", price_of_one)),
        unit=TOKENS,
        overage_rates=(OverageRate(TOKENS, EUROS, Decimal(factor)),),
        minimums=(
            Minimum("cash", Decimal(10), EUROS),
            Minimum("t", Decimal(unit_minimum), TOKENS),
        ),
    )
    invoice = price(least, used(quantity))
    assert shown(invoice) == adjustments
    spend = Decimal(quantity) * Decimal(price_of_one)
    assert invoice.due == max(max(spend, Decimal(unit_minimum)) * Decimal(factor), Decimal(10))
    assert reconcile(least, invoice) == []


def test_credits_pay_neither_of_two_minimums() -> None:
    """4.5 used and paid by credits; 15.5 to the unit's minimum, 3.34 to the currency's."""
    least = plan(
        charge(("0", "1.5")),
        unit=TOKENS,
        overage_rates=(OverageRate(TOKENS, EUROS, Decimal("0.333")),),
        minimums=(Minimum("t", Decimal(20), TOKENS), Minimum("cash", Decimal(10), EUROS)),
    )
    tokens = Credits([AvailableGrant(grant("900", unit=TOKENS), Decimal(900))])
    invoice = price_period(least, used("3"), billed(), available=tokens)
    assert shown(invoice) == [("t", "15.5"), ("grant 1", "-4.5"), ("cash", "3.34")]
    assert invoice.due == Decimal("15.5") * Decimal("0.333") + Decimal("3.34")
