"""`reconcile` finds every amount of an invoice that is off by the last digit."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.domain.money import USD_CENTS
from services.domain.plan import Minimum, OverageRate
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


def off(part: Any, name: str) -> Any:
    """A part of an invoice with one amount a digit off."""
    return part._replace(**{name: getattr(part, name) + DIGIT})


def spoilt(field: str) -> PricedInvoice:
    """The same invoice with one amount a digit off."""
    invoice = price(WHOLE, used("1234.5"))
    [line] = invoice.lines
    first, *others = line.charges
    head, _, name = field.rpartition(".")
    match head:
        case "tier":
            tier, *above = first.tiers
            first = first._replace(tiers=(off(tier, name), *above))
        case "charge":
            first = off(first, name)
        case "conversion":
            conversion = invoice.conversion
            assert conversion is not None
            return invoice._replace(
                conversion=replace(conversion, **{name: getattr(conversion, name) + DIGIT})
            )
        case "adjustment":
            [adjustment] = invoice.adjustments
            changed = replace(adjustment, amount=adjustment.amount + DIGIT)
            return invoice._replace(adjustments=(changed,))
        case "line":
            line = off(line, name)
        case _:
            changed_invoice = off(invoice, name)
            assert isinstance(changed_invoice, PricedInvoice)
            return changed_invoice
    return invoice._replace(lines=(line._replace(charges=(first, *others)),))


@pytest.mark.parametrize(
    "field",
    [
        "tier.quantity", "tier.price", "tier.subtotal", "charge.quantity", "charge.subtotal",
        "line.total", "subtotal", "due", "total", "adjustment.amount", "conversion.quantity",
        "conversion.factor", "conversion.amount",
    ],
)  # fmt: skip
def test_an_amount_that_is_off_by_a_digit_is_found(field: str) -> None:
    assert reconcile(WHOLE, spoilt(field)) != []


def test_a_sound_invoice_adds_up() -> None:
    assert reconcile(WHOLE, price(WHOLE, used("1234.5"))) == []
