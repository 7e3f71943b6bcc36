"""`reconcile` finds every amount of an invoice that is off by the last digit."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.domain.money import USD_CENTS
from services.domain.plan import Minimum, OverageRate, Plan
from services.domain.pricing.invoice import PricedInvoice
from services.domain.pricing.reconcile import reconcile
from tests.domain.plan_parts import TOKENS, charge, plan, price, used

WHOLE = plan(
    charge(("0", "0.1"), ("100", "0.09")),
    charge(number=2),
    unit=TOKENS,
    minimums=(Minimum("m", Decimal(10_000), USD_CENTS),),
    overage_rates=(OverageRate(TOKENS, USD_CENTS, Decimal("1.5")),),
)
DIGIT = Decimal("1e-15")  # within the 28 digits of the context that this test adds in


def spoilt(field: str) -> tuple[Plan, PricedInvoice]:
    """The same invoice with one amount a digit off."""
    invoice = price(WHOLE, used("1234.5"))
    [line] = invoice.lines
    first, *others = line.charges
    tier, *above = first.tiers
    head, _, name = field.rpartition(".")
    match head:
        case "tier":
            first = replace(
                first, tiers=(replace(tier, **{name: DIGIT + getattr(tier, name)}), *above)
            )
        case "charge":
            first = replace(first, **{name: DIGIT + getattr(first, name)})
        case "conversion":
            assert invoice.conversion is not None
            changed = {name: DIGIT + getattr(invoice.conversion, name)}
            return WHOLE, replace(invoice, conversion=replace(invoice.conversion, **changed))
        case "adjustment":
            [adjustment] = invoice.adjustments
            off = replace(adjustment, amount=adjustment.amount + DIGIT)
            return WHOLE, replace(invoice, adjustments=(off,))
        case "line":
            line = replace(line, total=line.total + DIGIT)
        case _:
            return WHOLE, replace(invoice, **{name: DIGIT + getattr(invoice, name)})
    return WHOLE, replace(invoice, lines=(replace(line, charges=(first, *others)),))


@pytest.mark.parametrize(
    "field",
    [
        "tier.quantity", "tier.price", "tier.subtotal", "charge.quantity", "charge.subtotal",
        "line.total", "subtotal", "due", "total", "adjustment.amount", "conversion.quantity",
        "conversion.factor", "conversion.amount",
    ],
)  # fmt: skip
def test_an_amount_that_is_off_by_a_digit_is_found(field: str) -> None:
    assert reconcile(*spoilt(field)) != []


def test_a_sound_invoice_adds_up() -> None:
    assert reconcile(WHOLE, price(WHOLE, used("1234.5"))) == []
