"""Plans: named sets of charges. Made once, never changed: what an invoice was priced by stays."""

from typing import Any
from uuid import UUID, uuid4

import asyncpg
from fastapi import APIRouter
from starlette.responses import Response

from services.api.change import Change, changing
from services.api.context import Actor, Parts
from services.api.errors import fault, refused
from services.api.paging import PAGE_MAX, Limit, NextPage, after, decode_cursor, split_page
from services.api.plan_bodies import ChargeBody, CreatePlan
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
from services.api.replies import Data, Id, Page, data, page
from services.api.request import ExactRoute
from services.domain.number import text_of
from services.runtime.json import encode_json

router = APIRouter(tags=["Plans"], route_class=ExactRoute)


@router.post("/v1/plans/create", responses={200: {"model": Data[Id]}})
async def create_plan(body: CreatePlan, parts: Parts, actor: Actor) -> Response:
    """Create a plan with its products, charges and prices (Tollgate's own; not in Metronome)."""
    plan_id = uuid4()
    async with changing(parts, actor, "plan.create", plan_id) as change:
        await _check_references(change.connection, body)
        await change.connection.execute(
            "INSERT INTO plan (id, name, description, billing_frequency, credit_type_id,"
            " custom_fields, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            plan_id,
            body.name,
            body.description or "",
            body.billing_frequency.value,
            body.credit_type_id,
            encode_json(body.custom_fields or {}).decode(),
            parts.now(),
        )
        await _insert_charges(change, body.charges)
        change.detail["name"] = body.name
        change.detail["charges"] = [
            {"name": charge.name, "prices": _prices(charge)} for charge in body.charges
        ]
    return data(Id(id=plan_id))


async def _check_references(connection: asyncpg.Connection, body: CreatePlan) -> None:
    """Every id that names nothing, at once."""
    faults = []
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM credit_type WHERE id = $1)", body.credit_type_id
    ):
        faults.append(
            fault("credit_type_id", f"{body.credit_type_id} is not in /v1/credit-types/list")
        )
    rows = await connection.fetch(
        "SELECT id, archived_at FROM billable_metric WHERE id = ANY($1)",
        [charge.billable_metric_id for charge in body.charges],
    )
    archived = {row["id"]: row["archived_at"] is not None for row in rows}
    for index, charge in enumerate(body.charges):
        field, metric_id = f"charges[{index}].billable_metric_id", charge.billable_metric_id
        if metric_id not in archived:
            faults.append(fault(field, f"there is no billable metric {metric_id}"))
        elif archived[metric_id]:
            faults.append(fault(field, f"billable metric {metric_id} is archived"))
    if faults:
        raise refused(*faults)


async def _insert_charges(change: Change, charges: list[ChargeBody]) -> None:
    products: dict[str, UUID] = {}
    rows = []
    for position, charge in enumerate(charges):
        product_id = products.setdefault(charge.product_name, uuid4())
        rows.append(
            (
                uuid4(),
                change.entity_id,
                position,
                charge.name,
                product_id,
                charge.product_name,
                charge.charge_type.value,
                charge.billable_metric_id,
                encode_json(_prices(charge)).decode(),
                _conversion(charge),
                encode_json(charge.custom_fields or {}).decode(),
            )
        )
    await change.connection.executemany(
        "INSERT INTO charge (id, plan_id, position, name, product_id, product_name, charge_type,"
        " billable_metric_id, prices, unit_conversion, custom_fields)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        rows,
    )


def _prices(charge: ChargeBody) -> list[dict[str, str]]:
    """As text, so that no reader of the column can lose a digit."""
    return [{"tier": text_of(p.tier), "value": text_of(p.value)} for p in charge.prices]


def _conversion(charge: ChargeBody) -> str | None:
    conversion = charge.unit_conversion
    if conversion is None:
        return None
    stored: dict[str, Any] = {
        "division_factor": text_of(conversion.division_factor),
        "rounding_behavior": conversion.rounding_behavior,
    }
    return encode_json(stored).decode()


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
        return data(plan_detail_of(await fetch_plan(connection, plan_id)))


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
