"""The computed part of an invoice as Metronome's API shows it: lines and amounts, exact numbers.

The projector stores it, the API adds what the invoice's own columns say. Rounds and adds nothing.

Lines are in the plan's pricing unit. Where that becomes a currency, a line of the type
`cpu_conversion` does it, and `subtotal` and `total` are in the currency: the adjustments in the
pricing unit count before that line, those in the currency after it.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from services.domain.money import CreditType
from services.domain.number import plain
from services.domain.period import Period
from services.domain.plan import ChargeType, Plan
from services.domain.pricing.invoice import ChargeLine, PricedInvoice, ProductLine
from services.domain.pricing.whole import Conversion, InvoiceAdjustment
from services.domain.schedule import BilledPeriod
from services.runtime.invoice_texts import ChargeTexts, number_text, open_object, texts_of
from services.runtime.json import encode_json

_NO_WINDOWS: Mapping[int, Period] = MappingProxyType({})


def render(
    plan: Plan,
    priced: PricedInvoice,
    billed: BilledPeriod,
    windows: Mapping[int, Period] = _NO_WINDOWS,
) -> bytes:
    """The document of one period's invoice, as JSON; the same input gives the same bytes.
    `windows`: the time over which tiers run, by the number of periods where that is more than one.
    """
    texts = texts_of(plan)
    span = _span(billed.held)
    prorated = billed.days_held != billed.days_whole
    spans = {reset: _span(window) for reset, window in windows.items()} if windows else None
    items = [_line_item(texts, line, span, spans, prorated) for line in priced.lines]
    subtotal, adjustments = priced.subtotal, "[]"
    if priced.conversion is not None:
        subtotal = priced.conversion.amount
        items.append(_conversion(plan.unit, priced.conversion, billed.held))
    if priced.adjustments:
        adjustments = encode_json([_adjustment(each) for each in priced.adjustments]).decode()
    return (
        f'{{"line_items":[{",".join(items)}],"subtotal":{number_text(subtotal)},'
        f'"total":{number_text(priced.total)},"invoice_adjustments":{adjustments}}}'
    ).encode()


def _line_item(
    texts: Mapping[int, ChargeTexts],
    line: ProductLine,
    span: str,
    spans: Mapping[int, str] | None,
    prorated: bool,
) -> str:
    """A line is a product, or a group of it. Metronome gives it quantity 1; where it is one metered
    thing, its walk-through shows the metered quantity, which says more and multiplies out; of what
    is prorated but for the last digits, for its quantity is rounded for display."""
    first = texts[id(line.charges[0].charge)]
    charges = ",".join([_sub_line_item(texts, charge, span, spans) for charge in line.charges])
    quantity, price = "1", ""
    if len(line.charges) == 1:
        quantity = number_text(line.charges[0].quantity)
        price = first.unit_price or _own_price(line.charges[0], "unit_price")
    head, group = first.line_head, ""
    if line.others:
        name = others_name(line.product_name, line.others)
        head = open_object({"name": name, "type": "usage"}) + ',"quantity":'
    elif line.group_key:
        group = _group(line)
    if prorated and any(c.charge.charge_type is ChargeType.FIXED for c in line.charges):
        price += ',"is_prorated":true'
    return (
        f'{head}{quantity},"total":{number_text(line.total)}{first.line_middle}'
        f'{span}{group},"custom_fields":{{}},"sub_line_items":[{charges}]{price}}}'
    )


def others_name(product: str, groups: int) -> str:
    """The name of the line of the groups that have none of their own."""
    return f"{product} ({groups:,} more groups)"


def _sub_line_item(
    texts: Mapping[int, ChargeTexts],
    line: ChargeLine,
    span: str,
    spans: Mapping[int, str] | None,
) -> str:
    of_charge = texts[id(line.charge)]
    of_tiers = of_charge.tiers
    parts = []
    for tier in line.tiers:
        head, price = of_tiers[tier.starts_after]
        parts.append(
            f"{head}{number_text(tier.quantity)}{price or _price(tier.price)}"
            f"{number_text(tier.subtotal)}}}"
        )
    tiers = ",".join(parts)
    price = ""
    if line.quantity != 0:
        price = of_charge.price or _own_price(line, "price")
    window = span
    if spans is not None:
        window = spans.get(line.charge.tier_reset_frequency, span)
    return (
        f'{of_charge.head}{number_text(line.quantity)},"subtotal":{number_text(line.subtotal)}'
        f'{of_charge.middle}{window}}},"tiers":[{tiers}]{price}}}'
    )


def _price(price: Decimal) -> str:
    return f',"price":{number_text(price)},"subtotal":'


def _own_price(line: ChargeLine, name: str) -> str:
    """The price of a minimum is what its base lacks, which differs from invoice to invoice."""
    if line.charge.charge_type is not ChargeType.MINIMUM:
        return ""
    return f',"{name}":{number_text(line.tiers[0].price)}'


def _group(line: ProductLine) -> str:
    """Metronome names one property; of a key of several, the whole map says it."""
    members: dict[str, object] = {}
    if len(line.group_key) == 1:
        members = {"group_key": line.group_key[0], "group_value": line.group_values[0]}
    members["presentation_group_values"] = dict(zip(line.group_key, line.group_values, strict=True))
    return f",{open_object(members)[1:]}"


def _conversion(unit: CreditType, conversion: Conversion, period: Period) -> str:
    """The line that turns what is due in the pricing unit into a currency."""
    line = {
        "name": f"{unit.name} to {conversion.unit.name}",
        "type": "cpu_conversion",
        "quantity": plain(conversion.quantity),
        "unit_price": plain(conversion.factor),
        "total": plain(conversion.amount),
        "credit_type": {"id": conversion.unit.id, "name": conversion.unit.name},
        "starting_at": period.start,
        "ending_before": period.end,
        "custom_fields": {},
    }
    return encode_json(line).decode()


def _adjustment(adjustment: InvoiceAdjustment) -> dict[str, object]:
    shown: dict[str, object] = {
        "name": adjustment.name,
        "total": plain(adjustment.amount),
        "credit_type": {"id": adjustment.unit.id, "name": adjustment.unit.name},
    }
    if adjustment.credit_grant_id is not None:
        shown["credit_grant_id"] = adjustment.credit_grant_id
    return shown


@lru_cache(maxsize=10_000)
def _span(period: Period) -> str:
    return open_object({"starting_at": period.start, "ending_before": period.end})[1:]
