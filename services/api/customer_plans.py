"""Customer plans: which customer is on which plan, and when. Every change marks the drafts that it
makes or alters, in its own transaction."""

from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

import asyncpg
from fastapi import APIRouter
from pydantic import AfterValidator, Field
from starlette.responses import Response

from services.api.change import changing
from services.api.context import Actor, Parts
from services.api.customer_plan_rows import (
    CUSTOMER_PLAN_COLUMNS,
    TRIAL_USED,
    CustomerAndPlan,
    CustomerPlan,
    customer_and_plan_of,
    customer_plan_of,
    fetch_customer_plan,
    parse_status,
)
from services.api.customer_rows import DETAIL_COLUMNS, fetch_active_customer, fetch_customer
from services.api.customer_terms import (
    OverageRateAdjustments,
    PriceAdjustments,
    TrialSpecBody,
    stored_terms,
)
from services.api.errors import conflict, fault, refused
from services.api.fields import Body, FlagNotYet, Identity, Midnight, NotNegative, reject
from services.api.paging import PAGE_MAX, Limit, NextPage, after, decode_cursor, split_page
from services.api.plan_end import void_changed
from services.api.plan_rows import fetch_plan
from services.api.replies import Data, Empty, Id, Page, data, exact, page
from services.api.request import ExactRoute
from services.api.stale import mark_credited, mark_spans
from services.domain.plan import Plan
from services.domain.schedule import FIRST_DAY, LAST_DAY
from services.runtime.json import raw_json
from services.runtime.plan_rows import PlanShelf, read_units

# 2^63 - 1: larger than every ordinal, so a first page starts at the newest.
_NEWEST = 9_223_372_036_854_775_807

_TERMS = ("price_adjustments", "trial_spec", "overage_rate_adjustments")

router = APIRouter(tags=["Plans"], route_class=ExactRoute)


def _plan_day(day: datetime) -> datetime:
    if not FIRST_DAY <= day <= LAST_DAY:
        reject([("", f"must be from {FIRST_DAY:%Y-%m-%d} to {LAST_DAY:%Y-%m-%d}")])
    return day


PlanDay = Annotated[Midnight, AfterValidator(_plan_day)]


class AddPlan(Body):
    """POST /v1/customers/{customer_id}/plans/add"""

    plan_id: Identity
    starting_on: PlanDay
    ending_before: PlanDay | None = None
    net_payment_terms_days: NotNegative | None = None
    price_adjustments: PriceAdjustments | None = None
    trial_spec: TrialSpecBody | None = None
    overage_rate_adjustments: OverageRateAdjustments | None = None


class EndPlan(Body):
    """POST /v1/customers/{customer_id}/plans/{customer_plan_id}/end"""

    ending_before: Annotated[
        PlanDay | None, Field(description="exclusive; absent: the plan has no end again")
    ] = None
    void_invoices: Annotated[
        bool | None,
        Field(
            description="void the finalized invoices that reach beyond the end; the one that it"
            " falls into can then be regenerated up to it. Else such an end is refused"
        ),
    ] = None
    void_stripe_invoices: FlagNotYet = None


@router.post("/v1/customers/{customer_id}/plans/add", responses={200: {"model": Data[Id]}})
async def add_plan(customer_id: UUID, body: AddPlan, parts: Parts, actor: Actor) -> Response:
    """Put a customer on a plan; its draft invoices exist from then on, usage or none."""
    _check_order(body.starting_on, body.ending_before)
    customer_plan_id = uuid4()
    async with changing(parts, actor, "customer_plan.add", customer_plan_id) as change:
        connection = change.connection
        await fetch_active_customer(connection, customer_id)
        terms = stored_terms(
            await _plan(connection, body.plan_id),
            body.price_adjustments or (),
            body.trial_spec,
            body.overage_rate_adjustments or (),
        )
        span = (body.starting_on, body.ending_before)
        await _check_unique(connection, customer_id, body.plan_id, span)
        await connection.execute(
            "INSERT INTO customer_plan (id, customer_id, plan_id, starting_on, ending_before,"
            " net_payment_terms_days, created_at, price_adjustments, trial_spec,"
            " overage_rate_adjustments) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            customer_plan_id,
            customer_id,
            body.plan_id,
            body.starting_on,
            body.ending_before,
            body.net_payment_terms_days,
            parts.now(),
            *terms,
        )
        await mark_spans(connection, customer_id, [span], parts.now())
        change.detail.update(customer_id=customer_id, plan_id=body.plan_id, span=span)
        change.detail.update(
            (name, raw_json(term)) for name, term in zip(_TERMS, terms, strict=True) if term
        )
    return data(Id(id=customer_plan_id))


def _check_order(starting_on: datetime, ending_before: datetime | None) -> None:
    if ending_before is not None and ending_before <= starting_on:
        raise refused(
            fault("ending_before", f"must be later than starting_on, {starting_on.isoformat()}")
        )


async def _plan(connection: asyncpg.Connection, plan_id: UUID) -> Plan:
    plan = (await PlanShelf().get(connection, [plan_id])).get(plan_id)
    if plan is None:
        raise refused(fault("plan_id", f"there is no plan {plan_id}"))
    return plan


async def _check_unique(
    connection: asyncpg.Connection,
    customer_id: UUID,
    plan_id: UUID,
    span: tuple[datetime, datetime | None],
    itself: UUID | None = None,
) -> None:
    """The very same plan over the very same time is a request sent twice, and would bill twice."""
    twin = await connection.fetchval(
        "SELECT id FROM customer_plan WHERE customer_id = $1 AND plan_id = $2"
        " AND starting_on = $3 AND ending_before IS NOT DISTINCT FROM $4"
        " AND ($5::uuid IS NULL OR id <> $5)",
        customer_id,
        plan_id,
        *span,
        itself,
    )
    if twin is not None:
        raise conflict(
            f"customer {customer_id} has plan {plan_id} over this very time already: "
            f"customer plan {twin}"
        )


@router.post(
    "/v1/customers/{customer_id}/plans/{customer_plan_id}/end",
    responses={200: {"model": Empty}},
)
async def end_plan(
    customer_id: UUID,
    customer_plan_id: UUID,
    parts: Parts,
    actor: Actor,
    body: EndPlan | None = None,
) -> Response:
    """Set the end of a customer's plan, or take it away."""
    end = body.ending_before if body is not None else None
    async with changing(parts, actor, "customer_plan.end", customer_plan_id) as change:
        connection = change.connection
        before = await fetch_customer_plan(connection, customer_id, customer_plan_id)
        _check_order(before["starting_on"], end)
        voiding = body is not None and body.void_invoices is True
        voided = await void_changed(connection, customer_plan_id, end, void_invoices=voiding)
        span = (before["starting_on"], end)
        await _check_unique(connection, customer_id, before["plan_id"], span, customer_plan_id)
        await connection.execute(
            "UPDATE customer_plan SET ending_before = $2 WHERE id = $1", customer_plan_id, end
        )
        # Months that the plan no longer touches have drafts to take away.
        spans = [span, (before["starting_on"], before["ending_before"])]
        await mark_spans(connection, customer_id, spans, parts.now())
        # Credits that its drafts and void invoices took are for the customer's other plans.
        await mark_credited(connection, customer_id, parts.now())
        change.detail.update(before=before["ending_before"], after=end, voided=voided)
    return exact({})


@router.get("/v1/customers/{customer_id}/plans", responses={200: {"model": Page[CustomerPlan]}})
async def list_customer_plans(
    customer_id: UUID, parts: Parts, limit: Limit = PAGE_MAX, next_page: NextPage = None
) -> Response:
    """List the plans of a customer, the latest start first."""
    place = decode_cursor(next_page, int, int)
    # Seconds since 1970: midnights are whole seconds.
    second, ordinal = (_NEWEST, _NEWEST) if place is None else place
    async with parts.reading() as connection:
        await fetch_customer(connection, customer_id)
        rows = await connection.fetch(
            f"SELECT {CUSTOMER_PLAN_COLUMNS}, {TRIAL_USED} FROM customer_plan s"  # noqa: S608 (constants)
            " JOIN plan p ON p.id = s.plan_id WHERE s.customer_id = $1"
            " AND (extract(epoch FROM s.starting_on)::bigint, s.ordinal) < ($2, $3)"
            " ORDER BY s.starting_on DESC, s.ordinal DESC LIMIT $4",
            customer_id,
            second,
            ordinal,
            limit + 1,
        )
        units = await read_units(connection)
    shown, cursor = split_page(
        rows, limit, lambda row: (int(row["starting_on"].timestamp()), row["plan_ordinal"])
    )
    return page([customer_plan_of(row, units) for row in shown], cursor)


@router.get(
    "/v1/planDetails/{plan_id}/customers", responses={200: {"model": Page[CustomerAndPlan]}}
)
async def list_plan_customers(
    plan_id: UUID,
    parts: Parts,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
    status: str = "active",
) -> Response:
    """List the customers on a plan: `status` all, active, ended, upcoming, or some with commas."""
    wanted = parse_status(status)
    async with parts.reading() as connection:
        await fetch_plan(connection, plan_id)
        rows = await connection.fetch(
            f"SELECT {DETAIL_COLUMNS}, {CUSTOMER_PLAN_COLUMNS}"  # noqa: S608 (constants)
            " FROM customer_plan s JOIN plan p ON p.id = s.plan_id"
            " JOIN customer c ON c.id = s.customer_id"
            " WHERE s.plan_id = $1 AND s.ordinal > $2 AND CASE"
            "   WHEN s.starting_on > $3 THEN 'upcoming'"
            "   WHEN s.ending_before <= $3 THEN 'ended' ELSE 'active' END = ANY($4)"
            " ORDER BY s.ordinal LIMIT $5",
            plan_id,
            after(next_page),
            parts.now(),
            wanted,
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["plan_ordinal"],))
    return page([customer_and_plan_of(row) for row in shown], cursor)
