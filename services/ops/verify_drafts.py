"""Compares every draft in PostgreSQL with the bill that the oracle makes of the folded usage, field
by field, and finds drafts that are not there. Finalized invoices never change, so they are left.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import asyncpg

from services.domain.period import draft_months
from services.domain.plan import Charge
from services.domain.reference.bill import (
    Bill,
    Bounds,
    ChargeAmount,
    Held,
    Span,
    bill_of,
    held_by,
    months_used,
    period_of,
    quantity_of,
)
from services.domain.reference.numbers import plain_text
from services.domain.reference.usage import Usage
from services.ops.verify_catalog import Billing
from services.ops.verify_differences import Differences
from services.runtime.json import decode_json

DRAFTS_AT_ONCE = 1_000

_DRAFTS = """
SELECT i.id, i.customer_id, i.customer_plan_id, i.starts_at, i.ends_at, i.document::text
FROM invoice i WHERE i.status = 'DRAFT'
"""
_INVOICED = "SELECT customer_plan_id, starts_at FROM invoice WHERE status <> 'VOID'"


@dataclass(slots=True)
class Compared:
    """How many drafts."""

    drafts: int = 0
    pending: int = 0  # being priced just now, left out


async def compare_drafts(
    connection: asyncpg.Connection,
    usage: Usage,
    billing: Billing,
    now: datetime,
    differences: Differences,
) -> Compared:
    """Every draft of the connection's snapshot; `now`: drafts of later months may be missing."""
    compared = Compared()
    held = held_by(usage)
    async for row in connection.cursor(_DRAFTS, prefetch=DRAFTS_AT_ONCE):
        if (row["customer_id"], _month(row["starts_at"]).date()) in billing.pending:
            compared.pending += 1
            continue
        compared.drafts += 1
        _compare_draft(row, held, billing, differences)
    await _find_missing(connection, usage, billing, now, differences)
    return compared


def _compare_draft(
    row: asyncpg.Record, held: Held, billing: Billing, differences: Differences
) -> None:
    where = f"draft {row['id']} of customer {row['customer_id']}, {row['starts_at']:%Y-%m}"
    found = Bounds(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC))
    span = billing.spans.get(row["customer_plan_id"])
    period = None if span is None else period_of(span, found.start)
    if span is None or period is None:
        differences.add(where, None, "a draft, where no plan holds or the customer is archived")
        return
    if period != found:
        differences.add(f"{where}: period", _shown(period), _shown(found))
        return
    expected = document_of(span, _bill(span, held, billing, period), period)
    for path, wanted, there in differing(expected, decode_json(row["document"]), ""):
        differences.add(f"{where}: {path}", wanted, there)
        return  # one line a draft


def _bill(span: Span, held: Held, billing: Billing, period: Bounds) -> Bill:
    quantities = {
        charge.metric_id: quantity_of(
            held,
            span.references,
            (charge.metric_id, billing.aggregations[charge.metric_id]),
            period,
        )
        for charge in span.plan.charges
        if charge.metric_id is not None
    }
    return bill_of(span.plan, quantities)


async def _find_missing(
    connection: asyncpg.Connection,
    usage: Usage,
    billing: Billing,
    now: datetime,
    differences: Differences,
) -> None:
    """Where a plan held and something was used, there is an invoice."""
    invoiced = {
        (row["customer_plan_id"], row["starts_at"]) for row in await connection.fetch(_INVOICED)
    }
    used = months_used(usage)
    for span in billing.spans.values():
        customer = billing.customers[span.id]
        months = {month for reference in span.references for month in used.get(reference, ())}
        shown = set(draft_months(span.starting_on, span.ending_before, now))
        for month in sorted(months & shown):
            period = period_of(span, month)
            if period is None or (customer, month.date()) in billing.pending:
                continue
            if (span.id, period.start) not in invoiced:
                differences.add(
                    f"invoice of customer {customer}, plan {span.plan.name!r}, {month:%Y-%m}",
                    "a draft",
                    None,
                )


def _month(instant: datetime) -> datetime:
    utc = instant.astimezone(UTC)
    return datetime(utc.year, utc.month, 1, tzinfo=UTC)


def _shown(period: Bounds) -> str:
    return f"{period.start:%Y-%m-%d} to {period.end:%Y-%m-%d}"


def document_of(span: Span, bill: Bill, period: Bounds) -> dict[str, object]:
    """The invoice document as it should be, amounts as fractions."""
    names = {charge.product_id: charge.product_name for charge in reversed(span.plan.charges)}
    charges = iter(_in_line_order(span.plan.charges, [line.product_id for line in bill.lines]))
    unit = {"id": str(span.plan.unit.id), "name": span.plan.unit.name}
    lines: list[object] = []
    for line in bill.lines:
        parts = [(next(charges), amount) for amount in line.charges]
        only = line.charges[0] if len(parts) == 1 else None
        item: dict[str, object] = {
            "name": names[line.product_id],
            "type": "usage",
            "quantity": Fraction(1) if only is None else only.quantity,
            "total": line.total,
            "credit_type": unit,
            "product_id": str(line.product_id),
            "product_type": "UsageProductListItem",
            **_ends(period),
            "custom_fields": {},
            "sub_line_items": [_sub_line(charge, amount, period) for charge, amount in parts],
        }
        if only is not None and len(parts[0][0].tiers) == 1:
            item["unit_price"] = only.tiers[0].price
        lines.append(item)
    return {
        "line_items": lines,
        "subtotal": bill.subtotal,
        "total": bill.total,
        "invoice_adjustments": [],
    }


def _in_line_order(charges: tuple[Charge, ...], products: list[UUID]) -> list[Charge]:
    return [charge for product in products for charge in charges if charge.product_id == product]


def _sub_line(charge: Charge, amount: ChargeAmount, period: Bounds) -> dict[str, object]:
    item: dict[str, object] = {
        "name": charge.name,
        "quantity": amount.quantity,
        "subtotal": amount.subtotal,
        "charge_id": str(amount.charge_id),
        "custom_fields": {},
        "tier_period": _ends(period),
        "tiers": [
            {
                "starting_at": tier.starts_after,
                "quantity": tier.quantity,
                "price": tier.price,
                "subtotal": tier.subtotal,
            }
            for tier in amount.tiers
        ],
    }
    if len(charge.tiers) == 1 and amount.quantity != 0:
        item["price"] = amount.tiers[0].price
    return item


def _ends(period: Bounds) -> dict[str, object]:
    return {
        "starting_at": f"{period.start:%Y-%m-%dT%H:%M:%SZ}",
        "ending_before": f"{period.end:%Y-%m-%dT%H:%M:%SZ}",
    }


def differing(expected: object, found: object, path: str) -> Iterator[tuple[str, object, object]]:
    """(path, expected, found) of every leaf in which two documents differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted(expected.keys() | found.keys()):
            deeper = f"{path}.{name}" if path else name
            yield from differing(expected.get(name), found.get(name), deeper)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (wanted, there) in enumerate(zip(expected, found, strict=True)):
            yield from differing(wanted, there, f"{path}[{index}]")
    elif isinstance(expected, Fraction) and isinstance(found, int | Decimal):
        if expected != Fraction(found):
            yield path, plain_text(expected), plain_text(Fraction(found))
    elif expected != found:
        wanted = plain_text(expected) if isinstance(expected, Fraction) else expected
        yield path, wanted, found
