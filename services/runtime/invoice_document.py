"""The computed part of an invoice as Metronome's API shows it: lines and amounts, exact numbers.

The projector stores it, the API adds what the invoice's own columns say. Rounds and adds nothing.

Of a document only the amounts differ from customer to customer, so the text between them is made
once for a plan and a period. That, not the prices, was most of what a draft cost.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from services.domain.number import text_of
from services.domain.period import Period
from services.domain.plan import Charge, Plan
from services.domain.pricing.invoice import ChargeLine, PricedInvoice, ProductLine
from services.runtime.json import encode_json

# Texts of so many plans and periods are kept; past it they are made anew.
_TEMPLATES_MAX = 1_000


def render(plan: Plan, priced: PricedInvoice, period: Period) -> bytes:
    """The document of one period's invoice, as JSON; the same input gives the same bytes."""
    template = _template_of(plan, period)
    items = ",".join([_line_item(template, line) for line in priced.lines])
    return (
        f'{{"line_items":[{items}],"subtotal":{_number(priced.subtotal)},'
        f'"total":{_number(priced.total)},"invoice_adjustments":[]}}'
    ).encode()


class _ChargeTexts(NamedTuple):
    """What is the same in every document: the text before the quantity, before the tiers and
    after them; and of each tier the text before its quantity and before its subtotal."""

    head: str
    tiers_head: str
    price: str  # of the only tier, where there is something to price
    tiers: tuple[tuple[str, str], ...]


class _ProductTexts(NamedTuple):
    """The same of a line: before the quantity, before the charges and after them."""

    head: str
    charges_head: str
    tail: str


class _Template(NamedTuple):
    """The texts of a plan in a period, by product and by charge."""

    plan: Plan  # kept, so that its identity stays its own
    products: dict[UUID, _ProductTexts]
    charges: dict[UUID, _ChargeTexts]


_templates: dict[tuple[int, datetime, datetime], _Template] = {}


def _template_of(plan: Plan, period: Period) -> _Template:
    place = id(plan), period.start, period.end
    template = _templates.get(place)
    if template is None:
        if len(_templates) >= _TEMPLATES_MAX:
            _templates.clear()
        template = _templates[place] = _template(plan, period)
    return template


def _line_item(template: _Template, line: ProductLine) -> str:
    """A line is a product. Metronome gives it quantity 1; where the product is one metered thing,
    its walk-through shows the metered quantity, which says more and multiplies out."""
    texts = template.products[line.product_id]
    charges = ",".join([_sub_line_item(template, charge) for charge in line.charges])
    quantity = _number(line.charges[0].quantity) if len(line.charges) == 1 else "1"
    return (
        f'{texts.head}{quantity},"total":{_number(line.total)}{texts.charges_head}{charges}'
        f"{texts.tail}"
    )
