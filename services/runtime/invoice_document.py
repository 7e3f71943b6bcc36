"""The computed part of an invoice as Metronome's API shows it: lines and amounts, exact numbers.

The projector stores it, the API adds what the invoice's own columns say. Rounds and adds nothing.

Of a document only the amounts differ from customer to customer, so the text between them is made
once for a plan and a period. That, not the prices, was most of what a draft cost.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.domain.number import text_of
from services.domain.period import Period
from services.domain.plan import Charge, Plan
from services.domain.pricing.invoice import ChargeLine, PricedInvoice, ProductLine
from services.runtime.json import encode_json

# Texts of so many plans and periods are kept; past it they are made anew.
_TEXTS_MAX = 1_000


def render(plan: Plan, priced: PricedInvoice, period: Period) -> bytes:
    """The document of one period's invoice, as JSON; the same input gives the same bytes."""
    texts = _texts_of(plan, period)
    items = ",".join(map(_line_item, texts, priced.lines))
    return (
        f'{{"line_items":[{items}],"subtotal":{_number(priced.subtotal)},'
        f'"total":{_number(priced.total)},"invoice_adjustments":[]}}'
    ).encode()


def _line_item(texts: "_ProductTexts", line: ProductLine) -> str:
    """A line is a product. Metronome gives it quantity 1; where the product is one metered thing,
    its walk-through shows the metered quantity, which says more and multiplies out."""
    assert texts.product_id == line.product_id, "priced by another plan"
    charges = ",".join(map(_sub_line_item, texts.charges, line.charges))
    quantity = _number(line.charges[0].quantity) if len(line.charges) == 1 else "1"
    return (
        f'{texts.head}{quantity},"total":{_number(line.total)}{texts.charges_head}{charges}'
        f"{texts.tail}"
    )


def _sub_line_item(texts: "_ChargeTexts", line: ChargeLine) -> str:
    tiers = ",".join(
        [
            f"{head}{_number(tier.quantity)}{middle}{_number(tier.subtotal)}}}"
            for (head, middle), tier in zip(texts.tiers, line.tiers, strict=False)  # those reached
        ]
    )
    price = texts.price if line.quantity != 0 else ""
    return (
        f'{texts.head}{_number(line.quantity)},"subtotal":{_number(line.subtotal)}'
        f"{texts.tiers_head}{tiers}]{price}}}"
    )


def _number(number: Decimal) -> str:
    """As `text_of`; most numbers are in that form already."""
    text = str(number)
    if "E" in text or text == "-0" or ("." in text and text[-1] == "0"):
        return text_of(number)
    return text


class _ChargeTexts(NamedTuple):
    """What a charge has in every document: the text before its quantity and before its tiers, the
    price where it has one tier, and of each tier the text before its quantity and subtotal."""

    head: str
    tiers_head: str
    price: str
    tiers: tuple[tuple[str, str], ...]


class _ProductTexts(NamedTuple):
    """What a line has in every document: the text before its quantity, before and after its
    charges."""

    product_id: UUID
    head: str
    charges_head: str
    tail: str
    charges: tuple[_ChargeTexts, ...]


# By the identity of a plan, which is kept so that no other gets it.
_kept: dict[tuple[int, Period], tuple[Plan, tuple[_ProductTexts, ...]]] = {}


def _texts_of(plan: Plan, period: Period) -> tuple[_ProductTexts, ...]:
    place = id(plan), period
    found = _kept.get(place)
    if found is None:
        if len(_kept) >= _TEXTS_MAX:
            _kept.clear()
        found = _kept[place] = plan, _make_texts(plan, period)
    return found[1]


def _make_texts(plan: Plan, period: Period) -> tuple[_ProductTexts, ...]:
    by_product: dict[UUID, list[Charge]] = {}
    for charge in plan.charges:
        by_product.setdefault(charge.product_id, []).append(charge)
    return tuple(_product_texts(plan, charges, period) for charges in by_product.values())


def _product_texts(plan: Plan, charges: Sequence[Charge], period: Period) -> _ProductTexts:
    charges_head = {
        "credit_type": {"id": plan.unit.id, "name": plan.unit.name},
        "product_id": charges[0].product_id,
        "product_type": "UsageProductListItem",
        **_span(period),
        "custom_fields": {},
    }
    only = len(charges) == 1 and len(charges[0].tiers) == 1
    unit_price = f',"unit_price":{text_of(charges[0].tiers[0].price)}' if only else ""
    return _ProductTexts(
        charges[0].product_id,
        _open({"name": charges[0].product_name, "type": "usage"}) + ',"quantity":',
        "," + _open(charges_head)[1:] + ',"sub_line_items":[',
        f"]{unit_price}}}",
        tuple(_charge_texts(charge, period) for charge in charges),
    )


def _charge_texts(charge: Charge, period: Period) -> _ChargeTexts:
    tiers_head = {"charge_id": charge.id, "custom_fields": {}, "tier_period": _span(period)}
    # Exact: the quantity after which the price holds. Metronome's example shows the first whole
    # unit beyond it (1001 for 1000), which fractions have not.
    tiers = tuple(
        (
            f'{{"starting_at":{text_of(tier.starts_after)},"quantity":',
            f',"price":{text_of(tier.price)},"subtotal":',
        )
        for tier in charge.tiers
    )
    return _ChargeTexts(
        _open({"name": charge.name}) + ',"quantity":',
        "," + _open(tiers_head)[1:] + ',"tiers":[',
        f',"price":{text_of(charge.tiers[0].price)}' if len(charge.tiers) == 1 else "",
        tiers,
    )


def _open(members: dict[str, object]) -> str:
    """An object whose end is to come."""
    return encode_json(members).decode()[:-1]


def _span(period: Period) -> dict[str, datetime]:
    return {"starting_at": period.start, "ending_before": period.end}
