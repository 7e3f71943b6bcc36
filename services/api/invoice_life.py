"""What callers do with invoices that are final: void them, make them again, see which usage came
too late for them. Prices nothing: the projector prices and finalizes what is made again.
"""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from services.api.change import changing
from services.api.context import Actor, Parts
from services.api.customer_rows import fetch_active_customer
from services.api.errors import ApiError, conflict, not_found
from services.api.fields import Body, Identity
from services.api.late_usage import LateUsage, late_usage_of
from services.api.replies import Data, Id, data
from services.api.request import ExactRoute
from services.api.stale import mark_credited, mark_spans, wait_for_comparison, wait_for_refresh
from services.domain.invoice_life import (
    InvoiceState,
    InvoiceStatus,
    Refused,
    Step,
    regenerate,
    status_after,
)
from services.domain.period import Period

router = APIRouter(tags=["Invoices"], route_class=ExactRoute)

_STATE = """
SELECT i.id, i.customer_id, i.customer_plan_id, i.status, i.starts_at, i.ends_at,
    i.regenerated_from_invoice_id,
    (SELECT r.id FROM invoice r WHERE r.regenerated_from_invoice_id = i.id) AS regenerated_as
FROM invoice i WHERE i.id = $1 FOR UPDATE OF i
"""
# Until it is priced, it says what the void one says, with its `as_of`.
_REGENERATE = """
INSERT INTO invoice (id, customer_id, customer_plan_id, plan_id, credit_type_id, status, starts_at,
    ends_at, document, catalog_version, as_of, priced_at, regenerated_from_invoice_id)
SELECT $2, customer_id, customer_plan_id, plan_id, credit_type_id, 'DRAFT', starts_at, $3, document,
    catalog_version, as_of, priced_at, id
FROM invoice WHERE id = $1
"""
_LIVE = """
SELECT id FROM invoice WHERE customer_plan_id = $1 AND starts_at = $2 AND status <> 'VOID'
"""
_LATE = """
SELECT i.id, i.customer_id, i.status, i.document, i.as_of, l.document AS late_document,
    l.as_of AS late_as_of, l.noted_at
FROM invoice i LEFT JOIN late_usage l ON l.invoice_id = i.id WHERE i.id = $1
"""


class VoidInvoice(Body):
    """POST /v1/invoices/void"""

    id: Annotated[Identity, Field(description="of a FINALIZED invoice")]


class RegenerateInvoice(Body):
    """POST /v1/invoices/regenerate"""

    id: Annotated[Identity, Field(description="of a VOID invoice")]


@router.post("/v1/invoices/void", responses={200: {"model": Data[Id]}})
async def void_invoice(body: VoidInvoice, parts: Parts, actor: Actor) -> Response:
    """Void a finalized invoice, for good. Its period has none until it is regenerated."""
    async with changing(parts, actor, "invoice.void", body.id) as change:
        invoice, row = await _lock(change.connection, body.id)
        after = status_after(invoice, Step.VOID)
        if isinstance(after, Refused):
            raise _not_voidable(invoice)
        await change.connection.execute(
            "UPDATE invoice SET status = $2 WHERE id = $1", body.id, after
        )
        # The credits that it gives back are for every draft of its customer.
        await mark_credited(change.connection, row["customer_id"], parts.now())
        change.detail.update(customer_id=row["customer_id"], before=invoice.status, after=after)
    return data(Id(id=body.id))


def _not_voidable(invoice: InvoiceState) -> ApiError:
    if invoice.status is InvoiceStatus.DRAFT:
        return conflict(
            f"invoice {invoice.id} is a DRAFT, which follows its usage until it is final; only a"
            " FINALIZED invoice can be voided"
        )
    made = invoice.regenerated_as
    again = "" if made is None else f"; invoice {made} was made in its place"
    return conflict(f"invoice {invoice.id} is VOID already{again}")


@router.post("/v1/invoices/regenerate", responses={200: {"model": Data[Id]}})
async def regenerate_invoice(body: RegenerateInvoice, parts: Parts, actor: Actor) -> Response:
    """Make a void invoice again, once: a new id, priced from the usage there is now, linked by
    `regenerated_from_invoice_id`. It is finalized as soon as its period and the grace are over."""
    new_id = uuid4()
    async with changing(parts, actor, "invoice.regenerate", new_id) as change:
        connection = change.connection
        invoice, row = await _lock(connection, body.id)
        made = regenerate(invoice, new_id)
        if isinstance(made, Refused):
            raise _not_regenerable(invoice, made)
        await fetch_active_customer(connection, row["customer_id"])
        ends_at = await _end_of(connection, row)
        await connection.execute(_REGENERATE, invoice.id, new_id, ends_at)
        span = (invoice.period.start, ends_at)
        await mark_spans(connection, row["customer_id"], [span], parts.now())
        # The credits that it takes again are missing in others.
        await mark_credited(connection, row["customer_id"], parts.now())
        change.detail.update(customer_id=row["customer_id"], regenerated_from=invoice.id)
    return data(Id(id=new_id))


def _not_regenerable(invoice: InvoiceState, why: Refused) -> ApiError:
    if invoice.status is InvoiceStatus.DRAFT:
        return conflict(
            f"invoice {invoice.id} is a DRAFT, which follows its usage by itself; only a VOID"
            " invoice is made again"
        )
    return conflict(why.reason)


async def _lock(
    connection: asyncpg.Connection, invoice_id: UUID
) -> tuple[InvoiceState, asyncpg.Record]:
    row = await connection.fetchrow(_STATE, invoice_id)
    if row is None:
        raise not_found("invoice", invoice_id)
    invoice = InvoiceState(
        row["id"],
        InvoiceStatus(row["status"]),
        Period(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC)),
        row["regenerated_from_invoice_id"],
        row["regenerated_as"],
    )
    return invoice, row


async def _end_of(connection: asyncpg.Connection, row: asyncpg.Record) -> datetime:
    """Where the period of an invoice that is made again ends: its plan may have ended since."""
    live = await connection.fetchval(_LIVE, row["customer_plan_id"], row["starts_at"])
    if live is not None:
        raise conflict(f"the period of invoice {row['id']} has another one, {live}")
    plan_end: datetime | None = await connection.fetchval(
        "SELECT ending_before FROM customer_plan WHERE id = $1", row["customer_plan_id"]
    )
    ends_at: datetime = row["ends_at"]
    if plan_end is None:
        return ends_at
    if plan_end <= row["starts_at"]:
        raise conflict(
            f"invoice {row['id']} is of a period that its customer's plan has no more: it ends"
            f" before {plan_end:%Y-%m-%d}"
        )
    return min(ends_at, plan_end)


@router.get(
    "/v1/tollgate/invoices/{invoice_id}/late-usage", responses={200: {"model": Data[LateUsage]}}
)
async def get_late_usage(invoice_id: UUID, parts: Parts) -> Response:
    """What came too late for a finalized invoice, charge by charge: it is in no invoice until this
    one is voided and regenerated. Waits a moment for usage that is being counted."""
    customer_id = await parts.value("SELECT customer_id FROM invoice WHERE id = $1", invoice_id)
    if customer_id is None:
        raise not_found("invoice", invoice_id)
    await wait_for_refresh(parts, customer_id)
    await wait_for_comparison(parts, invoice_id)
    async with parts.reading() as connection:
        row = await connection.fetchrow(_LATE, invoice_id)
    if row is None:
        raise not_found("invoice", invoice_id)
    return data(late_usage_of(row))
