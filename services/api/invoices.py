"""Invoices as the projector wrote them. Prices nothing; waits a moment for prices under way."""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import asyncpg
from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.context import Parts
from services.api.customer_rows import fetch_customer
from services.api.errors import fault, not_found, refused
from services.api.fields import Identity, Instant, any_case
from services.api.invoice_rows import Invoice, invoice_of
from services.api.paging import PAGE_MAX, Limit, NextPage, decode_cursor, encode_cursor
from services.api.replies import Data, Page, data, page
from services.api.request import ExactRoute
from services.api.stale import wait_for_refresh
from services.domain.invoice_life import InvoiceStatus

router = APIRouter(tags=["Invoices"], route_class=ExactRoute)


class InvoiceType(StrEnum):
    """Metronome's filter values and the type that its plan invoices carry."""

    PLAN_ARREARS = "PLAN_ARREARS"
    USAGE = "USAGE"
    USAGE_CONSOLIDATED = "USAGE_CONSOLIDATED"
    SCHEDULED = "SCHEDULED"


class Sort(StrEnum):
    """By start of the billing period."""

    DATE_ASC = "date_asc"
    DATE_DESC = "date_desc"


# An invoice for a plan's usage answers to both names.
_OURS = frozenset({InvoiceType.PLAN_ARREARS, InvoiceType.USAGE})

_COLUMNS = """
    SELECT i.*, c.custom_fields AS customer_custom_fields, t.name AS credit_type_name,
        p.name AS plan_name, p.custom_fields AS plan_custom_fields, s.net_payment_terms_days,
        l.document AS late_document, l.as_of AS late_as_of
    FROM invoice i
    LEFT JOIN late_usage l ON l.invoice_id = i.id
    JOIN customer c ON c.id = i.customer_id
    JOIN customer_plan s ON s.id = i.customer_plan_id
    JOIN plan p ON p.id = i.plan_id
    JOIN credit_type t ON t.id = i.credit_type_id
"""
_FILTERS = """
    WHERE i.customer_id = $1
    AND ($2::text IS NULL OR i.status = $2)
    AND ($3::uuid IS NULL OR i.credit_type_id = $3)
    AND ($4::timestamptz IS NULL OR i.starts_at >= $4)
    AND ($5::timestamptz IS NULL OR i.ends_at <= $5)
"""
_ASCENDING = """
    AND ($6::timestamptz IS NULL OR (i.starts_at, i.id) > ($6, $7::uuid))
    ORDER BY i.starts_at, i.id LIMIT $8
"""
_DESCENDING = """
    AND ($6::timestamptz IS NULL OR (i.starts_at, i.id) < ($6, $7::uuid))
    ORDER BY i.starts_at DESC, i.id DESC LIMIT $8
"""
_ORDERS: Mapping[Sort, str] = {Sort.DATE_ASC: _ASCENDING, Sort.DATE_DESC: _DESCENDING}


@router.get("/v1/customers/{customer_id}/invoices", responses={200: {"model": Page[Invoice]}})
async def list_invoices(
    customer_id: UUID,
    parts: Parts,
    *,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
    status: Annotated[InvoiceStatus, any_case(InvoiceStatus)] | None = None,
    kind: Annotated[
        Annotated[InvoiceType, any_case(InvoiceType)] | None, Query(alias="type")
    ] = None,
    credit_type_id: Identity | None = None,
    contract_id: Identity | None = None,
    starting_on: Instant | None = None,
    ending_before: Instant | None = None,
    sort: Annotated[Sort, any_case(Sort)] = Sort.DATE_ASC,
    skip_zero_qty_line_items: bool = False,
) -> Response:
    """List a customer's invoices by start of their period, drafts and void ones included."""
    place = _place(next_page)
    await wait_for_refresh(parts, customer_id)
    async with parts.reading() as connection:
        await fetch_customer(connection, customer_id)
        if contract_id is not None or not (kind is None or kind in _OURS):
            return page([], None)  # plans have no contracts
        rows = await connection.fetch(
            _COLUMNS + _FILTERS + _ORDERS[sort],
            customer_id,
            status,
            credit_type_id,
            starting_on,
            ending_before,
            *place,
            limit + 1,
        )
    cursor = _cursor(rows[limit - 1]) if len(rows) > limit else None
    items = [invoice_of(row, skip_zero=skip_zero_qty_line_items) for row in rows[:limit]]
    return page(items, cursor)


def _cursor(row: asyncpg.Record) -> str:
    # Periods start at midnights, which are whole seconds.
    return encode_cursor(int(row["starts_at"].timestamp()), str(row["id"]))


def _place(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    place: list[Any] | None = decode_cursor(cursor, int, str)
    if place is None:
        return None, None
    try:
        return datetime.fromtimestamp(place[0], UTC), UUID(place[1])
    except (ValueError, OverflowError, OSError) as error:
        raise refused(fault("next_page", "is not a cursor of this list")) from error


@router.get(
    "/v1/customers/{customer_id}/invoices/{invoice_id}", responses={200: {"model": Data[Invoice]}}
)
async def get_invoice(
    customer_id: UUID, invoice_id: UUID, parts: Parts, skip_zero_qty_line_items: bool = False
) -> Response:
    """Read one invoice."""
    await wait_for_refresh(parts, customer_id)
    async with parts.reading() as connection:
        row = await connection.fetchrow(
            _COLUMNS + "WHERE i.customer_id = $1 AND i.id = $2", customer_id, invoice_id
        )
    if row is None:
        raise not_found(f"customer {customer_id} or its invoice", invoice_id)
    return data(invoice_of(row, skip_zero=skip_zero_qty_line_items))
