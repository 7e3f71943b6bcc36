"""Credit grants: made, edited, voided. What a final invoice took of one stays taken; drafts follow
every change, which marks them in its own transaction.
"""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
from fastapi import APIRouter
from starlette.responses import Response

from services.api.change import Change, changing
from services.api.context import Actor, Parts
from services.api.credit_bodies import CreateGrant, EditGrant, VoidGrant
from services.api.credit_rows import product_names
from services.api.customer_rows import fetch_active_customer
from services.api.errors import conflict, fault, not_found, refused
from services.api.replies import Data, Fault, Id, data
from services.api.request import ExactRoute
from services.api.stale import mark_credits
from services.domain.number import text_of
from services.domain.period import oldest_draft_month
from services.domain.pricing.ledger import InvoiceDeduction
from services.runtime.credit_rows import STANDING, read_deductions
from services.runtime.json import encode_json
from services.runtime.plan_rows import read_units

router = APIRouter(tags=["Credit grants"], route_class=ExactRoute)

# Of a customer, that can still pay for a draft. Each instant at which one begins or expires in a
# period is priced by itself: 600 of them in a month make its draft take a second.
GRANTS_MAX = 1_000

_COUNT = f"""
SELECT count(*) FROM credit_grant g
WHERE g.customer_id = $1 AND g.expires_at > $2 AND {STANDING}
"""  # noqa: S608 (a constant)
_INSERT = """
INSERT INTO credit_grant (id, customer_id, name, credit_type_id, amount, paid_amount,
    paid_credit_type_id, priority, effective_at, expires_at, product_ids, reason,
    credit_grant_type, uniqueness_key, custom_fields, created_at, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
"""
# Whoever prices or finalizes holds the grant too, so that nothing takes from it meanwhile.
_LOCK = """
SELECT g.*, c.archived_at AS customer_archived_at
FROM credit_grant g JOIN customer c ON c.id = g.customer_id
WHERE g.id = $1 FOR NO KEY UPDATE OF g
"""


@router.post("/v1/credits/createGrant", responses={200: {"model": Data[Id]}})
async def create_grant(body: CreateGrant, parts: Parts, actor: Actor) -> Response:
    """Grant credits to a customer: they pay for usage dated from `effective_at` (absent: the hour
    that has begun) up to `expires_at`, on the drafts there are and on those to come."""
    grant_id, now = uuid4(), parts.now()
    effective_at = body.effective_at or now.replace(minute=0, second=0, microsecond=0)
    _check_order(effective_at, body.expires_at)
    async with changing(parts, actor, "credit_grant.create", grant_id) as change:
        connection = change.connection
        await fetch_active_customer(connection, body.customer_id)
        await _check_named(connection, body)
        await _check_unused(connection, body.uniqueness_key)
        await _check_count(connection, body.customer_id, now)
        await connection.execute(
            _INSERT,
            grant_id,
            body.customer_id,
            body.name,
            body.grant_amount.credit_type_id,
            body.grant_amount.amount,
            body.paid_amount.amount,
            body.paid_amount.credit_type_id,
            body.priority,
            effective_at,
            body.expires_at,
            body.product_ids or [],
            body.reason,
            body.credit_grant_type,
            body.uniqueness_key,
            encode_json(body.custom_fields or {}).decode(),
            now,
            actor,
        )
        span = (effective_at, body.expires_at)
        await mark_credits(connection, body.customer_id, [span], now)
        change.detail.update(
            customer_id=body.customer_id,
            name=body.name,
            amount=text_of(body.grant_amount.amount),
            credit_type_id=body.grant_amount.credit_type_id,
            span=span,
        )
    return data(Id(id=grant_id))


def _check_order(effective_at: datetime, expires_at: datetime) -> None:
    if expires_at <= effective_at:
        reason = f"must be later than effective_at, {effective_at.isoformat()}"
        raise refused(fault("expires_at", reason))


async def _check_named(connection: asyncpg.Connection, body: CreateGrant) -> None:
    """400 that names every pricing unit and product that there is not."""
    units = await read_units(connection)
    products = await product_names(connection, body.product_ids or ())

    def faults() -> Iterator[Fault]:
        for field, asked in (
            ("grant_amount", body.grant_amount),
            ("paid_amount", body.paid_amount),
        ):
            if asked.credit_type_id not in units:
                reason = f"{asked.credit_type_id} is not in /v1/credit-types/list"
                yield fault(f"{field}.credit_type_id", reason)
        for index, product_id in enumerate(body.product_ids or ()):
            if product_id not in products:
                yield fault(f"product_ids[{index}]", f"no plan has a product {product_id}")

    found = list(faults())
    if found:
        raise refused(*found)


async def _check_unused(connection: asyncpg.Connection, uniqueness_key: str | None) -> None:
    """A check that holds: changes happen one after another (`change`)."""
    taken = await connection.fetchval(
        "SELECT id FROM credit_grant WHERE uniqueness_key = $1", uniqueness_key
    )
    if taken is not None:
        raise conflict(f"This uniqueness key has already been used, by credit grant {taken}.")


async def _check_count(connection: asyncpg.Connection, customer_id: UUID, now: datetime) -> None:
    count = await connection.fetchval(_COUNT, customer_id, oldest_draft_month(now))
    if count >= GRANTS_MAX:
        raise conflict(
            f"customer {customer_id} has {count} credit grants that may pay for its drafts, and"
            f" {GRANTS_MAX} is the most; void those that final invoices have used up"
        )


@router.post("/v1/credits/editGrant", responses={200: {"model": Data[Id]}})
async def edit_grant(body: EditGrant, parts: Parts, actor: Actor) -> Response:
    """Rename a grant, or let it expire at another time; not sooner than a final invoice has used
    it. What is absent stays."""
    async with changing(parts, actor, "credit_grant.edit", body.id) as change:
        row = await _lock(change.connection, body.id)
        if row["voided_at"] is not None:
            raise conflict(f"credit grant {body.id} is void, which nothing undoes")
        before = {name: row[name] for name in ("name", "expires_at", "credit_grant_type")}
        asked = {name: getattr(body, name) for name in before}
        after = {**before, **{name: new for name, new in asked.items() if new is not None}}
        _check_order(row["effective_at"], after["expires_at"])
        if after["expires_at"] < row["expires_at"]:
            await _check_not_used_later(change.connection, row, after["expires_at"])
        await change.connection.execute(
            "UPDATE credit_grant SET name = $2, expires_at = $3, credit_grant_type = $4"
            " WHERE id = $1",
            body.id,
            *after.values(),
        )
        changed = [name for name in before if after[name] != before[name]]
        await _mark(change, row, parts.now(), before["expires_at"], after["expires_at"])
        change.detail.update(
            customer_id=row["customer_id"],
            before={name: before[name] for name in changed},
            after={name: after[name] for name in changed},
        )
    return data(Id(id=body.id))


async def _check_not_used_later(
    connection: asyncpg.Connection, row: asyncpg.Record, expires_at: datetime
) -> None:
    """400 when a final invoice took credits for time in which the grant would not hold any more.
    Which hours of its period they paid for is not known, so it is the whole period."""
    every = await read_deductions(connection, [row["customer_id"]])
    final = [
        each
        for each in every.get(row["customer_id"], ())
        if each.grant_id == row["id"] and not each.pending
    ]
    last: InvoiceDeduction | None = max(final, key=lambda each: each.effective_at, default=None)
    if last is None:
        return
    held = min(last.effective_at, row["expires_at"])
    if expires_at < held:
        reason = (
            f"is too early: invoice {last.invoice_id} is final and uses {text_of(last.amount)} of"
            f" these credits; {held.isoformat()} is the earliest, or void the invoice first"
        )
        raise refused(fault("expires_at", reason))


@router.post("/v1/credits/voidGrant", responses={200: {"model": Data[Id]}})
async def void_grant(body: VoidGrant, parts: Parts, actor: Actor) -> Response:
    """Void a grant, for good: it pays for nothing on any draft. What final invoices took of it
    stays. To void it again changes nothing, but may release its uniqueness key."""
    async with changing(parts, actor, "credit_grant.void", body.id) as change:
        row = await _lock(change.connection, body.id)
        release = body.release_uniqueness_key is True
        await change.connection.execute(
            "UPDATE credit_grant SET voided_at = coalesce(voided_at, $2),"
            " uniqueness_key = CASE WHEN $3 THEN NULL ELSE uniqueness_key END WHERE id = $1",
            body.id,
            parts.now(),
            release,
        )
        await _mark(change, row, parts.now(), row["expires_at"])
        change.detail.update(customer_id=row["customer_id"], release_uniqueness_key=release)
    return data(Id(id=body.id))


async def _lock(connection: asyncpg.Connection, grant_id: UUID) -> asyncpg.Record:
    """The grant, locked; 404 without one, 409 when the customer is archived."""
    row = await connection.fetchrow(_LOCK, grant_id)
    if row is None:
        raise not_found("credit grant", grant_id)
    if row["customer_archived_at"] is not None:
        raise conflict(f"customer {row['customer_id']} is archived and takes no more changes")
    return row


async def _mark(change: Change, row: asyncpg.Record, now: datetime, *expiries: datetime) -> None:
    spans = [(row["effective_at"], expires_at) for expires_at in expiries]
    await mark_credits(change.connection, row["customer_id"], spans, now)
