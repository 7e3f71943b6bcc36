"""Credit grants with what is left of them. Reads only: what invoices take stands in the invoices,
which a read that names its customers or grants waits for (`stale`).
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from services.api.context import Parts
from services.api.credit_bodies import ListGrants
from services.api.credit_rows import (
    SHOWN_COLUMNS,
    CreditGrant,
    product_names,
    read_ledgers,
    shown_grant,
)
from services.api.errors import fault, refused
from services.api.paging import PAGE_MAX, Limit, NextPage, decode_cursor, split_page
from services.api.replies import Page, page
from services.api.request import ExactRoute
from services.api.stale import wait_for_refresh
from services.runtime.credit_rows import STANDING
from services.runtime.plan_rows import read_units

router = APIRouter(tags=["Credit grants"], route_class=ExactRoute)

_GRANTS = f"""
SELECT {SHOWN_COLUMNS} FROM credit_grant g WHERE {STANDING}
AND ($1::uuid[] IS NULL OR g.id = ANY($1))
AND ($2::uuid[] IS NULL OR g.credit_type_id = ANY($2))
AND ($3::uuid[] IS NULL OR g.customer_id = ANY($3))
AND ($4::timestamptz IS NULL OR g.expires_at >= $4)
AND ($5::timestamptz IS NULL OR g.effective_at < $5)
AND ($6::timestamptz IS NULL OR (g.created_at, g.id) > ($6, $7::uuid))
ORDER BY g.created_at, g.id LIMIT $8
"""  # noqa: S608 (constants)


@router.post("/v1/credits/listGrants", responses={200: {"model": Page[CreditGrant]}})
async def list_grants(
    parts: Parts,
    *,
    body: ListGrants,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
) -> Response:
    """List credit grants that are not void, the oldest first, each with what is left of it."""
    place, now = _place(next_page), parts.now()
    await wait_for_refresh(parts, *await _customers(parts, body))
    async with parts.reading() as connection:
        rows = await connection.fetch(
            _GRANTS,
            body.credit_grant_ids,
            body.credit_type_ids,
            body.customer_ids,
            body.not_expiring_before,
            body.effective_before,
            *place,
            limit + 1,
        )
        shown, cursor = split_page(
            rows, limit, lambda row: (row["created_at"].isoformat(), str(row["id"]))
        )
        units = await read_units(connection)
        ledgers, ends = await read_ledgers(connection, shown, units, now)
        products = await product_names(
            connection, (each for row in shown for each in row["product_ids"])
        )
    items = [
        shown_grant(row, ledgers[row["id"]], ends.get(row["customer_id"], now), units, products)
        for row in shown
    ]
    return page(items, cursor)


async def _customers(parts: Parts, body: ListGrants) -> list[UUID]:
    """Those that a request is about; none where it is about all."""
    if not body.credit_grant_ids:
        return body.customer_ids or []
    ids: list[UUID] = await parts.value(
        "SELECT array_agg(customer_id) FROM credit_grant WHERE id = ANY($1)", body.credit_grant_ids
    )
    return ids or []


def _place(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    place: list[Any] | None = decode_cursor(cursor, str, str)
    if place is None:
        return None, None
    try:
        return datetime.fromisoformat(place[0]).astimezone(UTC), UUID(place[1])
    except (ValueError, OverflowError) as error:
        raise refused(fault("next_page", "is not a cursor of this list")) from error
