"""Plans: named sets of charges. Made once, never changed: what an invoice was priced by stays."""

from uuid import UUID, uuid4

from fastapi import APIRouter
from starlette.responses import Response

from services.api.change import changing
from services.api.context import Actor, Parts
from services.api.paging import PAGE_MAX, Limit, NextPage, after, decode_cursor, split_page
from services.api.plan_bodies import CreatePlan
from services.api.plan_parts import sound_plan
from services.api.plan_rows import (
    PLAN_COLUMNS,
    Charge,
    Plan,
    PlanDetail,
    charge_of,
    fetch_plan,
    plan_detail_of,
    plan_of,
)
from services.api.plan_store import insert_plan, stored_prices
from services.api.replies import Data, Id, Page, data, page
from services.api.request import ExactRoute
from services.runtime.plan_rows import read_units

router = APIRouter(tags=["Plans"], route_class=ExactRoute)


@router.post("/v1/plans/create", responses={200: {"model": Data[Id]}})
async def create_plan(body: CreatePlan, parts: Parts, actor: Actor) -> Response:
    """Create a plan with its products, charges and prices (Tollgate's own; not in Metronome)."""
    plan_id = uuid4()
    async with changing(parts, actor, "plan.create", plan_id) as change:
        plan = await sound_plan(change.connection, plan_id, body)
        await insert_plan(change.connection, plan, body, parts.now())
        change.detail["name"] = body.name
        change.detail["charges"] = [
            {"name": charge.name, "prices": stored_prices(charge)} for charge in plan.charges
        ]
    return data(Id(id=plan_id))


@router.get("/v1/plans", responses={200: {"model": Page[Plan]}})
async def list_plans(parts: Parts, limit: Limit = PAGE_MAX, next_page: NextPage = None) -> Response:
    """List plans, the oldest first."""
    async with parts.reading() as connection:
        rows = await connection.fetch(
            f"SELECT {PLAN_COLUMNS} FROM plan p"  # noqa: S608 (a constant)
            " WHERE p.ordinal > $1 ORDER BY p.ordinal LIMIT $2",
            after(next_page),
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["ordinal"],))
    return page([plan_of(row) for row in shown], cursor)


@router.get("/v1/planDetails/{plan_id}", responses={200: {"model": Data[PlanDetail]}})
async def get_plan_details(plan_id: UUID, parts: Parts) -> Response:
    """Read one plan."""
    async with parts.reading() as connection:
        row = await fetch_plan(connection, plan_id)
        return data(plan_detail_of(row, await read_units(connection)))


@router.get("/v1/planDetails/{plan_id}/charges", responses={200: {"model": Page[Charge]}})
async def list_charges(
    plan_id: UUID, parts: Parts, limit: Limit = PAGE_MAX, next_page: NextPage = None
) -> Response:
    """List the charges of a plan in their order."""
    place = decode_cursor(next_page, int)
    async with parts.reading() as connection:
        await fetch_plan(connection, plan_id)
        rows = await connection.fetch(
            "SELECT charge.*, t.id AS credit_type_id, t.name AS credit_type_name FROM charge"
            " JOIN plan ON plan.id = charge.plan_id"
            " JOIN credit_type t ON t.id = plan.credit_type_id"
            " WHERE charge.plan_id = $1 AND charge.position::bigint > $2"
            " ORDER BY charge.position LIMIT $3",
            plan_id,
            -1 if place is None else place[0],
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["position"],))
    return page([charge_of(row) for row in shown], cursor)
