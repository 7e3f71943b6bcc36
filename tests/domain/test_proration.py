"""Fixed charges of a part of a period: together they are the exact share of what they come to, and
what is shown adds up to it.
"""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random

import pytest
from hypothesis import given

from services.domain.money import USD_CENTS, CreditType
from services.domain.number import ZERO
from services.domain.period import Period
from services.domain.plan import Charge, ChargeType
from services.domain.pricing.charge import sum_of
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.invoice import Credits, PricedInvoice, price_period
from services.domain.pricing.lines import Share
from services.domain.pricing.reconcile import reconcile
from services.domain.pricing.usage import PeriodUsage
from services.domain.reference.price import bill_period
from services.domain.reference.terms import Terms, Used
from services.domain.schedule import BilledPeriod
from tests.domain.plan_parts import NOVEMBER, charge, grant, plan, utc
from tests.domain.pricing_cases import EUROS, START, THOROUGH, amount_of, seeds, tiers_of

NOTHING = PeriodUsage({})


def fee(*prices: tuple[str, str], number: int = 1, quantity: str = "1") -> Charge:
    return charge(*prices, number=number, charge_type=ChargeType.FIXED, quantity=Decimal(quantity))


def of_days(days: int, *charges: Charge, unit: CreditType = USD_CENTS) -> PricedInvoice:
    """The first days of November."""
    held = Period(NOVEMBER.start, NOVEMBER.start + timedelta(days=days))
    priced = plan(*charges, unit=unit)
    invoice = price_period(priced, NOTHING, BilledPeriod(held, NOVEMBER, 0))
    assert reconcile(priced, invoice, Share(days, 30)) == []
    return invoice


def amounts(invoice: PricedInvoice) -> list[Decimal]:
    """Of the shown tiers, in order."""
    return [t.subtotal for line in invoice.lines for each in line.charges for t in each.tiers]


@pytest.mark.parametrize(
    ("unit", "price", "due", "total"),
    [
        (EUROS, "99.99", "83.325", "83.33"),
        (USD_CENTS, "1503", "1252.5", "1253"),
        (USD_CENTS, "-1503", "-1252.5", "-1253"),
        (USD_CENTS, "0.00000000000000000000000000000006", "5e-32", "0"),
    ],
)
def test_a_share_that_comes_out_even_is_exact(
    unit: CreditType, price: str, due: str, total: str
) -> None:
    """25 of 30 days are 0.8333... of the quantity: its half cent must not become a little less."""
    invoice = of_days(25, fee(("0", price)), unit=unit)
    assert (invoice.due, invoice.total) == (Decimal(due), Decimal(total))
    assert amounts(invoice) == [Decimal(due)]
    assert invoice.lines[0].charges[0].quantity == Decimal("0.83333333333333333333")


def test_a_share_that_does_not_come_out_even_keeps_20_places() -> None:
    assert amounts(of_days(10, fee(("0", "1")))) == [Decimal("0.33333333333333333333")]
    assert amounts(of_days(10, fee(("0", "2")))) == [Decimal("0.66666666666666666667")]


def test_what_is_nearly_half_a_cent_stays_below_it() -> None:
    """A third of 1.4999999999999999999999 would be the half, had it 20 places."""
    invoice = of_days(10, fee(("0", "1.4999999999999999999999")))
    assert invoice.due < Decimal("0.5")
    assert invoice.total == 0


def test_charges_that_come_out_even_together_are_exact_together() -> None:
    """Three of 997 cents for 25 of 30 days are 2,492.5, and 830.8333... each."""
    invoice = of_days(25, *(fee(("0", "997"), number=number) for number in (1, 2, 3)))
    assert amounts(invoice) == [
        Decimal("830.83333333333333333333"),
        Decimal("830.83333333333333333334"),
        Decimal("830.83333333333333333333"),
    ]
    assert invoice.due == Decimal("2492.5")
    assert invoice.total == 2493


def test_tiers_that_come_out_even_together_are_exact_together() -> None:
    """A third of ten seats at 100 and five at 40."""
    invoice = of_days(10, fee(("0", "100"), ("10", "40"), quantity="15"))
    assert amounts(invoice) == [
        Decimal("333.33333333333333333333"),
        Decimal("66.66666666666666666667"),
    ]
    assert invoice.due == 400


def test_credits_that_expire_inside_the_period_pay_the_same_amounts() -> None:
    """The pieces of a period have the fixed charges of the invoice, to the last digit."""
    held = Period(NOVEMBER.start, utc(2026, 11, 26))
    paying = AvailableGrant(grant("9999", expires_at=utc(2026, 11, 9)), Decimal(9999))
    priced = plan(*(fee(("0", "997"), number=number) for number in (1, 2, 3)))
    available = Credits([paying], [(utc(2026, 11, 9), NOTHING)])
    invoice = price_period(priced, NOTHING, BilledPeriod(held, NOVEMBER, 0), available=available)
    assert [each.amount for each in invoice.adjustments] == [Decimal("-2492.5")]
    assert invoice.due == 0


def test_an_amount_of_which_a_digit_is_in_another_tier_does_not_reconcile() -> None:
    priced = plan(fee(("0", "100"), ("10", "40"), quantity="15"))
    held = Period(NOVEMBER.start, utc(2026, 11, 11))
    invoice = price_period(priced, NOTHING, BilledPeriod(held, NOVEMBER, 0))
    [line] = invoice.lines
    [charged] = line.charges
    low, high = charged.tiers
    digit = Decimal("1e-20")
    moved = charged._replace(
        tiers=(
            low._replace(subtotal=low.subtotal + digit),
            high._replace(subtotal=high.subtotal - digit),
        )
    )
    spoilt = invoice._replace(lines=(line._replace(charges=(moved,)),))
    share = Share(10, 30)
    assert reconcile(priced, invoice, share) == []
    assert reconcile(priced, spoilt, share) == [
        "the tiers of charge 'c1' are not its share of the days"
    ]


def fees_of(random: Random) -> tuple[Charge, ...]:
    """Several fixed charges; odd amounts, of up to 38 places."""
    return tuple(
        charge(
            number=number,
            charge_type=ChargeType.FIXED,
            quantity=Decimal(random.choice(("1", "1", "3", "12.5", "1e-38"))),
            tiers=tiers_of(random)
            if random.random() < 0.5
            else fee(("0", str(random.choice((amount_of(random), random.randint(1, 9999)))))).tiers,
        )
        for number in range(1, random.randint(2, 7))
    )


@THOROUGH
@given(seeds)
def test_a_part_of_a_period_is_the_exact_share_of_the_whole_rounded_once(random: Random) -> None:
    """By fractions of what the whole period comes to, in the domain and in the oracle."""
    whole_days = random.choice((7, 28, 30, 31, 90, 91, 365, 366))
    days = random.randint(1, whole_days)
    whole = Period(START, START + timedelta(days=whole_days))
    held = Period(START, START + timedelta(days=days))
    priced = plan(*fees_of(random), unit=random.choice((EUROS, USD_CENTS)))
    undivided = price_period(priced, NOTHING, BilledPeriod(whole, whole, 0))
    found = price_period(priced, NOTHING, BilledPeriod(held, whole, 0))
    exact = Fraction(undivided.subtotal) * days / whole_days
    step = 10**priced.unit.decimal_places
    total = Fraction(floor(exact * step + Fraction(1, 2)), step)
    assert Fraction(found.total) == total
    assert bill_period(priced, Used({}), Terms(days=(days, whole_days))).total == total
    so_far = exact_so_far = Fraction(0)
    for part, of_whole in zip(amounts(found), amounts(undivided), strict=True):
        assert part >= ZERO
        so_far += Fraction(part)
        exact_so_far += Fraction(of_whole) * days / whole_days
        assert abs(so_far - exact_so_far) <= Fraction(1, 2 * 10**20)
        if terminates(exact_so_far):
            assert so_far == exact_so_far
    assert sum_of(line.total for line in found.lines) == found.due


def terminates(value: Fraction) -> bool:
    """Whether its decimals end."""
    return 10**400 % value.denominator == 0
