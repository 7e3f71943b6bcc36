"""Compares every draft in PostgreSQL with the bill that the oracle makes of the folded usage, field
by field, and finds drafts that are not there. A finalized invoice is what it was when it became so,
and that bill, with the credits that it had available then, is what it says, or what its late usage
says.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg

from services.domain.period import oldest_draft_month
from services.domain.reference.bill import Days, Held, bill_span, days_used, held_by, periods_of
from services.domain.reference.usage import Usage
from services.ops.verify_catalog import Billing
from services.ops.verify_credits import Credited, read_credited
from services.ops.verify_differences import Differences
from services.ops.verify_document import differing, document_of, invoiced_in
from services.runtime.json import decode_json

DRAFTS_AT_ONCE = 1_000

_INVOICES = """
SELECT i.id, i.status, i.customer_id, i.customer_plan_id, i.starts_at, i.ends_at, i.credit_type_id,
    i.credits, coalesce(l.document, i.document)::text AS document,
    i.status = 'FINALIZED' AND i.digest IS DISTINCT FROM document_digest(i.document) AS altered,
    EXISTS (SELECT FROM late_mark m WHERE m.invoice_id = i.id) AS uncompared
FROM invoice i LEFT JOIN late_usage l ON l.invoice_id = i.id WHERE i.status <> 'VOID'
"""
# Where a final one was made void, there is none until that one is regenerated.
_INVOICED = """
SELECT customer_plan_id, starts_at FROM invoice WHERE status <> 'VOID' OR issued_at IS NOT NULL
"""


@dataclass(slots=True)
class Compared:
    """How many invoices."""

    drafts: int = 0
    finalized: int = 0
    pending: int = 0  # being priced just now, left out


class Known(NamedTuple):
    """What invoices are made of."""

    held: Held
    billing: Billing
    credited: Credited


async def compare_drafts(
    connection: asyncpg.Connection,
    usage: Usage,
    billing: Billing,
    now: datetime,
    differences: Differences,
) -> Compared:
    """Every invoice of the connection's snapshot; `now`: periods that begin later have none."""
    compared = Compared()
    held = held_by(usage)
    credited = await read_credited(connection)
    credited.find_overspent(differences)
    async for row in connection.cursor(_INVOICES, prefetch=DRAFTS_AT_ONCE):
        if row["altered"]:
            differences.add(f"{_where(row)}: document", "as it was finalized", "another one")
        if billing.is_pending(row["customer_id"], row["ends_at"]) or row["uncompared"]:
            compared.pending += 1
            continue
        if row["status"] == "DRAFT":
            compared.drafts += 1
        else:
            compared.finalized += 1
        _compare_invoice(row, Known(held, billing, credited), now, differences)
    await _find_missing(connection, usage, billing, now, differences)
    return compared


def _where(row: asyncpg.Record) -> str:
    kind = "draft" if row["status"] == "DRAFT" else "finalized invoice"
    return f"{kind} {row['id']} of customer {row['customer_id']}, {row['starts_at']:%Y-%m}"


def _compare_invoice(
    row: asyncpg.Record, known: Known, now: datetime, differences: Differences
) -> None:
    where = _where(row)
    start, end = row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC)
    span = known.billing.spans.get(row["customer_plan_id"])
    if span is None and row["status"] == "FINALIZED":
        return  # nothing is looked for any more once its customer is archived
    periods = () if span is None else periods_of(span, max(now, start))
    place = next((place for place, days in enumerate(periods) if days.start == start), None)
    if span is None or place is None:
        differences.add(where, None, "a draft, where no plan holds or the customer is archived")
        return
    days = periods[place]
    if days.end != end:
        differences.add(f"{where}: period", _shown(days.start, days.end), _shown(start, end))
        return
    grants = known.credited.left_for(row, span.plan.unit.id)
    bill = bill_span(span, periods, place, known.held, known.billing.metrics, grants=grants)
    expected = document_of(span, bill, periods, place)
    expected["credit_type_id"] = str(invoiced_in(span.plan, bill).id)
    found = {**decode_json(row["document"]), "credit_type_id": str(row["credit_type_id"])}
    for path, wanted, there in differing(expected, found, ""):
        differences.add(f"{where}: {path}", wanted, there)
        return  # one line a draft


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
    oldest = oldest_draft_month(now)
    used = days_used(usage)
    for span in billing.spans.values():
        customer = billing.customers[span.id]
        dates = {day for reference in span.references for day in used.get(reference, ())}
        for days in periods_of(span, now):
            if not oldest < days.end or days.start > now or (span.id, days.start) in invoiced:
                continue
            if billing.is_pending(customer, days.end) or not _any_within(dates, days):
                continue
            differences.add(
                f"invoice of customer {customer}, plan {span.plan.name!r}, {days.start:%Y-%m-%d}",
                "a draft",
                None,
            )


def _any_within(dates: set[datetime], days: Days) -> bool:
    return any(days.start <= date < days.end for date in dates)


def _shown(start: datetime, end: datetime) -> str:
    return f"{start:%Y-%m-%d} to {end:%Y-%m-%d}"
