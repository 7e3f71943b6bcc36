"""Customers: who is billed, and the aliases that name them in usage events."""

from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from services.api.change import changing
from services.api.context import Actor, Parts
from services.api.customer_rows import (
    DETAIL_COLUMNS,
    Customer,
    CustomerDetail,
    customer_of,
    detail_of,
    fetch_active_customer,
    fetch_customer,
    put_aliases,
)
from services.api.errors import fault, refused
from services.api.fields import Body, CustomFields, Identity
from services.api.paging import PAGE_MAX, Limit, NextPage, after, split_page
from services.api.replies import Data, Id, Page, data, empty, page
from services.api.request import ExactRoute, text_fault
from services.api.stale import mark_customer
from services.domain.event import CUSTOMER_ID_LENGTH_MAX
from services.runtime.json import encode_json

NAME_LENGTH_KEPT = 160  # Metronome cuts a longer name, it does not refuse it
ALIASES_MAX = 2_000

router = APIRouter(tags=["Customers"], route_class=ExactRoute)

Alias = Annotated[str, Field(min_length=1, max_length=CUSTOMER_ID_LENGTH_MAX)]
Aliases = Annotated[list[Alias], Field(max_length=ALIASES_MAX)]
LongName = Annotated[str, Field(min_length=1, description=f"cut to {NAME_LENGTH_KEPT} characters")]
# Billing providers are outside Tollgate: taken, so that an existing client works, and not kept.
NotKept = Annotated[Any, Field(description="accepted and not kept")]


class CreateCustomer(Body):
    """POST /v1/customers"""

    name: LongName
    ingest_aliases: Aliases | None = None
    external_id: Annotated[Alias | None, Field(description="one more alias; the first")] = None
    custom_fields: CustomFields | None = None
    billing_config: NotKept = None
    customer_billing_provider_configurations: NotKept = None
    customer_revenue_system_configurations: NotKept = None


class SetIngestAliases(Body):
    """POST /v1/customers/{customer_id}/setIngestAliases"""

    ingest_aliases: Aliases


class SetName(Body):
    """POST /v1/customers/{customer_id}/setName"""

    name: LongName


class ArchiveCustomer(Body):
    """POST /v1/customers/archive"""

    id: Identity


@router.post("/v1/customers", responses={200: {"model": Data[Customer]}})
async def create_customer(body: CreateCustomer, parts: Parts, actor: Actor) -> Response:
    """Create a customer."""
    customer_id = uuid4()
    aliases = [body.external_id] if body.external_id is not None else []
    aliases += body.ingest_aliases or []
    async with changing(parts, actor, "customer.create", customer_id) as change:
        connection, now = change.connection, parts.now()
        await connection.execute(
            "INSERT INTO customer (id, name, custom_fields, created_at, updated_at)"
            " VALUES ($1, $2, $3, $4, $4)",
            customer_id,
            body.name[:NAME_LENGTH_KEPT],
            encode_json(body.custom_fields or {}).decode(),
            now,
        )
        await connection.execute(
            "INSERT INTO customer_reference (reference, customer_id) VALUES ($1, $2)",
            str(customer_id),
            customer_id,
        )
        await put_aliases(connection, customer_id, aliases)
        row = await fetch_customer(connection, customer_id)
        change.detail.update(customer_of(row))
    return data(customer_of(row))


@router.post("/v1/customers/archive", responses={200: {"model": Data[Id]}})
async def archive_customer(body: ArchiveCustomer, parts: Parts, actor: Actor) -> Response:
    """Archive a customer, for good. Its aliases stay its own: its past usage is found by them."""
    async with changing(parts, actor, "customer.archive", body.id) as change:
        await fetch_customer(change.connection, body.id)
        now = parts.now()
        await change.connection.execute(
            "UPDATE customer SET archived_at = coalesce(archived_at, $2), updated_at = $2"
            " WHERE id = $1",
            body.id,
            now,
        )
        await mark_customer(change.connection, body.id, now)
    return data(Id(id=body.id))


@router.get("/v1/customers/{customer_id}", responses={200: {"model": Data[CustomerDetail]}})
async def get_customer(customer_id: UUID, parts: Parts) -> Response:
    """Read one customer."""
    async with parts.reading() as connection:
        return data(detail_of(await fetch_customer(connection, customer_id)))


@router.get("/v1/customers", responses={200: {"model": Page[CustomerDetail]}})
async def list_customers(
    parts: Parts,
    *,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
    ingest_alias: str | None = None,
    customer_ids: Annotated[
        list[str] | None, Query(description="at most 100 ids, separated by commas")
    ] = None,
    only_archived: bool = False,
    salesforce_account_ids: Annotated[list[str] | None, Query()] = None,
) -> Response:
    """List customers, the oldest first; archived ones only when asked for."""
    if ingest_alias is not None and (reason := text_fault(ingest_alias)) is not None:
        raise refused(fault("ingest_alias", reason))
    if salesforce_account_ids:
        # No customer has one here, so none matches.
        return page([], None)
    async with parts.reading() as connection:
        rows = await connection.fetch(
            f"SELECT {DETAIL_COLUMNS} FROM customer c"  # noqa: S608 (a constant)
            " WHERE c.ordinal > $1 AND (c.archived_at IS NOT NULL) = $2"
            " AND ($3::uuid[] IS NULL OR c.id = ANY($3))"
            " AND ($4::text IS NULL OR c.id IN (SELECT r.customer_id FROM customer_reference r"
            "   WHERE r.reference = $4 AND r.alias_position IS NOT NULL))"
            " ORDER BY c.ordinal LIMIT $5",
            after(next_page),
            only_archived,
            _ids(customer_ids),
            ingest_alias,
            limit + 1,
        )
    shown, cursor = split_page(rows, limit, lambda row: (row["ordinal"],))
    return page([detail_of(row) for row in shown], cursor)


def _ids(given: list[str] | None) -> list[UUID] | None:
    if given is None:
        return None
    texts = [text.strip() for part in given for text in part.split(",") if text.strip()]
    if len(texts) > PAGE_MAX:
        raise refused(fault("customer_ids", f"holds {len(texts)} ids, more than {PAGE_MAX}"))
    try:
        return [UUID(text) for text in texts]
    except ValueError as error:
        raise refused(fault("customer_ids", "must be UUIDs separated by commas")) from error


@router.post("/v1/customers/{customer_id}/setIngestAliases", response_class=Response)
async def set_ingest_aliases(
    customer_id: UUID, body: SetIngestAliases, parts: Parts, actor: Actor
) -> Response:
    """Replace the whole set of a customer's aliases; usage already sent under them moves along."""
    async with changing(parts, actor, "customer.set_ingest_aliases", customer_id) as change:
        connection = change.connection
        before = await fetch_active_customer(connection, customer_id)
        await put_aliases(connection, customer_id, body.ingest_aliases)
        await _touch(connection, customer_id, parts)
        await mark_customer(connection, customer_id, parts.now())
        change.detail.update(before=list(before["aliases"]), after=body.ingest_aliases)
    return empty()


@router.post("/v1/customers/{customer_id}/setName", responses={200: {"model": Data[Customer]}})
async def set_name(customer_id: UUID, body: SetName, parts: Parts, actor: Actor) -> Response:
    """Rename a customer."""
    async with changing(parts, actor, "customer.set_name", customer_id) as change:
        connection = change.connection
        before = await fetch_active_customer(connection, customer_id)
        name = body.name[:NAME_LENGTH_KEPT]
        await connection.execute("UPDATE customer SET name = $2 WHERE id = $1", customer_id, name)
        await _touch(connection, customer_id, parts)
        change.detail.update(before=before["name"], after=name)
        row = await fetch_customer(connection, customer_id)
    return data(customer_of(row))


async def _touch(connection: asyncpg.Connection, customer_id: UUID, parts: Parts) -> None:
    await connection.execute(
        "UPDATE customer SET updated_at = $2 WHERE id = $1", customer_id, parts.now()
    )
