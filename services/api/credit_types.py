"""Pricing units: what amounts are counted in. The schema brings the currencies; others are made
here and never change.
"""

from uuid import UUID, uuid4

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.change import changing
from services.api.context import Actor, Parts
from services.api.errors import conflict
from services.api.fields import Body, Name
from services.api.paging import PAGE_MAX, Limit, NextPage, decode_cursor, split_page
from services.api.replies import Data, Id, Page, data, page
from services.api.request import ExactRoute

# Of an invoice total in a unit of one's own, as most currencies have.
CUSTOM_DECIMAL_PLACES = 2

router = APIRouter(tags=["Settings"], route_class=ExactRoute)


class CreditType(TypedDict):
    """A pricing unit: USD is in cents, other currencies in whole units."""

    id: UUID
    name: str
    is_currency: bool


class CreateCreditType(Body):
    """POST /v1/credit-types/create"""

    name: Name


@router.post("/v1/credit-types/create", responses={200: {"model": Data[Id]}})
async def create_credit_type(body: CreateCreditType, parts: Parts, actor: Actor) -> Response:
    """Create a custom pricing unit, which an overage rate of a plan turns into a currency."""
    unit_id = uuid4()
    async with changing(parts, actor, "credit_type.create", unit_id) as change:
        connection = change.connection
        if await connection.fetchval(
            "SELECT EXISTS (SELECT FROM credit_type WHERE name = $1)", body.name
        ):
            raise conflict(f"there is a pricing unit {body.name!r} already")
        await connection.execute(
            "INSERT INTO credit_type (id, name, is_currency, decimal_places)"
            " VALUES ($1, $2, false, $3)",
            unit_id,
            body.name,
            CUSTOM_DECIMAL_PLACES,
        )
        change.detail["name"] = body.name
    return data(Id(id=unit_id))


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
