"""The computed part of an invoice as Metronome's API shows it: lines and amounts, exact numbers.

The projector stores it, the API adds what the invoice's own columns say. Rounds and adds nothing.
"""

from datetime import datetime
from decimal import Decimal

from services.domain.number import plain
from services.domain.period import Period
from services.domain.plan import Plan
from services.domain.pricing.invoice import ChargeLine, PricedInvoice, ProductLine
from services.runtime.json import encode_json


def render(plan: Plan, priced: PricedInvoice, period: Period) -> bytes:
    """The document of one period's invoice, as JSON; the same input gives the same bytes."""
    return encode_json(
        {
            "line_items": [_line_item(plan, line, period) for line in priced.lines],
            "subtotal": plain(priced.subtotal),
            "total": plain(priced.total),
            "invoice_adjustments": [],
        }
    )


def _line_item(plan: Plan, line: ProductLine, period: Period) -> dict[str, object]:
    """A line is a product. Metronome gives it quantity 1; where the product is one metered thing,
    its walk-through shows the metered quantity, which says more and multiplies out."""
    item: dict[str, object] = {
        "name": line.product_name,
        "type": "usage",
        "quantity": Decimal(1),
        "total": plain(line.total),
        "credit_type": {"id": plan.unit.id, "name": plan.unit.name},
        "product_id": line.product_id,
        "product_type": "UsageProductListItem",
        **_span(period.start, period.end),
        "custom_fields": {},
        "sub_line_items": [_sub_line_item(charge, period) for charge in line.charges],
    }
    if len(line.charges) == 1:
        only = line.charges[0]
        item["quantity"] = plain(only.quantity)
        if len(only.charge.tiers) == 1:
            item["unit_price"] = plain(only.charge.tiers[0].price)
    return item


def _sub_line_item(line: ChargeLine, period: Period) -> dict[str, object]:
    item: dict[str, object] = {
        "name": line.charge.name,
        "quantity": plain(line.quantity),
        "subtotal": plain(line.subtotal),
        "charge_id": line.charge.id,
        "custom_fields": {},
        "tier_period": _span(period.start, period.end),
        "tiers": [
            {
                # Exact: the quantity after which the price holds. Metronome's example shows the
                # first whole unit beyond it (1001 for 1000), which fractions have not.
                "starting_at": plain(tier.starts_after),
                "quantity": plain(tier.quantity),
                "price": plain(tier.price),
                "subtotal": plain(tier.subtotal),
            }
            for tier in line.tiers
        ],
    }
    if len(line.charge.tiers) == 1 and line.quantity != 0:
        item["price"] = plain(line.charge.tiers[0].price)
    return item


def _span(start: datetime, end: datetime) -> dict[str, datetime]:
    return {"starting_at": start, "ending_before": end}
