"""Pricing units: what amounts are counted in. Read only; 0001_catalog.sql brings them."""

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.context import Parts
from services.api.paging import PAGE_MAX, Limit, NextPage, decode_cursor, split_page
from services.api.replies import Page, page
from services.api.request import ExactRoute

router = APIRouter(tags=["Settings"], route_class=ExactRoute)


class CreditType(TypedDict):
    """A pricing unit: USD is in cents, other currencies in whole units."""

    id: UUID
    name: str
    is_currency: bool


@router.get("/v1/credit-types/list", responses={200: {"model": Page[CreditType]}})
async def list_credit_types(
    parts: Parts, limit: Limit = PAGE_MAX, next_page: NextPage = None
) -> Response:
    """List pricing units by name."""
    place = decode_cursor(next_page, str)
    async with parts.reading() as connection:
        rows = await connection.fetch(
            "SELECT id, name, is_currency FROM credit_type"
            ' WHERE $1::text IS NULL OR name COLLATE "C" > $1 ORDER BY name COLLATE "C" LIMIT $2',
            None if place is None else place[0],
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["name"],))
    items = [
        CreditType(id=row["id"], name=row["name"], is_currency=row["is_currency"]) for row in shown
    ]
    return page(items, cursor)
