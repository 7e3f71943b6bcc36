"""Billable metrics: what is counted. Immutable but for the name and archiving."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from services.api.change import changing
from services.api.context import Actor, Parts
from services.api.customer_rows import fetch_customer
from services.api.metric_bodies import ArchiveMetric, CreateMetric, RenameMetric
from services.api.metric_rows import (
    METRIC_COLUMNS,
    BillableMetric,
    CustomerBillableMetric,
    customer_metric_of,
    fetch_metric,
    metric_of,
)
from services.api.paging import PAGE_MAX, Limit, NextPage, after, split_page
from services.api.replies import Data, Id, Page, data, page
from services.api.request import ExactRoute
from services.runtime.json import encode_json

router = APIRouter(tags=["Billable metrics"], route_class=ExactRoute)


@router.post("/v1/billable-metrics/create", responses={200: {"model": Data[Id]}})
async def create_metric(body: CreateMetric, parts: Parts, actor: Actor) -> Response:
    """Create a billable metric; it counts every event posted after this reply."""
    assert body.aggregation_type is not None, "the body was validated"
    metric_id = uuid4()
    async with changing(parts, actor, "billable_metric.create", metric_id) as change:
        await change.connection.execute(
            "INSERT INTO billable_metric (id, name, aggregation_type, aggregation_key,"
            " event_type_filter, property_filters, group_keys, custom_fields, created_at,"
            " created_version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            metric_id,
            body.name,
            body.aggregation_type.value,
            body.aggregation_key,
            _json(body.event_type_filter),
            _json(body.property_filters),
            None if not body.group_keys else encode_json(body.group_keys).decode(),
            encode_json(body.custom_fields or {}).decode(),
            parts.now(),
            change.version,
        )
        change.detail.update(body.model_dump(mode="json", exclude_none=True))
    return data(Id(id=metric_id))


def _json(value: BaseModel | Sequence[BaseModel] | None) -> str | None:
    if not value:
        return None
    if isinstance(value, BaseModel):
        # A filter that filters nothing is no filter.
        dumped = value.model_dump(exclude_none=True)
        return encode_json(dumped).decode() if dumped else None
    return encode_json([item.model_dump(exclude_none=True) for item in value]).decode()


@router.post("/v1/billable-metrics/archive", responses={200: {"model": Data[Id]}})
async def archive_metric(body: ArchiveMetric, parts: Parts, actor: Actor) -> Response:
    """Archive a metric: it counts nothing from now on; what it counted stays."""
    async with changing(parts, actor, "billable_metric.archive", body.id) as change:
        await fetch_metric(change.connection, body.id)
        await change.connection.execute(
            "UPDATE billable_metric SET archived_at = coalesce(archived_at, $2) WHERE id = $1",
            body.id,
            parts.now(),
        )
    return data(Id(id=body.id))


@router.get(
    "/v1/billable-metrics/{billable_metric_id}", responses={200: {"model": Data[BillableMetric]}}
)
async def get_metric(billable_metric_id: UUID, parts: Parts) -> Response:
    """Read one billable metric."""
    async with parts.reading() as connection:
        return data(metric_of(await fetch_metric(connection, billable_metric_id)))


@router.put("/v1/billable-metrics/{billable_metric_id}", responses={200: {"model": Data[Id]}})
async def rename_metric(
    billable_metric_id: UUID, body: RenameMetric, parts: Parts, actor: Actor
) -> Response:
    """Rename a metric; nothing else of it can change."""
    async with changing(parts, actor, "billable_metric.rename", billable_metric_id) as change:
        before = await fetch_metric(change.connection, billable_metric_id)
        await change.connection.execute(
            "UPDATE billable_metric SET name = $2 WHERE id = $1", billable_metric_id, body.name
        )
        change.detail.update(before=before["name"], after=body.name)
    return data(Id(id=billable_metric_id))


@router.get("/v1/billable-metrics", responses={200: {"model": Page[BillableMetric]}})
async def list_metrics(
    parts: Parts,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
    include_archived: bool = False,
) -> Response:
    """List billable metrics, the oldest first."""
    async with parts.reading() as connection:
        rows = await connection.fetch(
            f"SELECT {METRIC_COLUMNS} FROM billable_metric m"  # noqa: S608 (a constant)
            " WHERE m.ordinal > $1 AND ($2 OR m.archived_at IS NULL)"
            " ORDER BY m.ordinal LIMIT $3",
            after(next_page),
            include_archived,
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["ordinal"],))
    return page([metric_of(row) for row in shown], cursor)


@router.get(
    "/v1/customers/{customer_id}/billable-metrics",
    responses={200: {"model": Page[CustomerBillableMetric]}},
)
async def list_customer_metrics(
    customer_id: UUID,
    parts: Parts,
    *,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
    on_current_plan: bool = False,
    include_archived: bool = False,
) -> Response:
    """List the metrics available to a customer, or only those that its current plans price."""
    async with parts.reading() as connection:
        await fetch_customer(connection, customer_id)
        rows = await connection.fetch(
            f"SELECT {METRIC_COLUMNS} FROM billable_metric m"  # noqa: S608 (a constant)
            " WHERE m.ordinal > $1 AND ($2 OR m.archived_at IS NULL)"
            " AND (NOT $3 OR EXISTS (SELECT FROM charge JOIN customer_plan p USING (plan_id)"
            "   WHERE charge.billable_metric_id = m.id AND p.customer_id = $4"
            "   AND p.starting_on <= $5 AND (p.ending_before IS NULL OR p.ending_before > $5)))"
            " ORDER BY m.ordinal LIMIT $6",
            after(next_page),
            include_archived,
            on_current_plan,
            customer_id,
            parts.now(),
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["ordinal"],))
    return page([customer_metric_of(row) for row in shown], cursor)
