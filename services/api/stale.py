"""Drafts that a change of the catalog made stale: marking them, and waiting for their refresh.

Only marks; the projector's pricing step takes the marks and writes the invoices.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import asyncpg

from services.api.context import Context
from services.domain.period import draft_months

# How long a read of invoices waits for the pricing step, and how often it looks.
REFRESH_WAIT_S = 1.0
REFRESH_POLL_S = 0.02


async def mark_customer(connection: asyncpg.Connection, customer_id: UUID, now: datetime) -> None:
    """Every month that any of the customer's plans touches."""
    rows = await connection.fetch(
        "SELECT starting_on, ending_before FROM customer_plan WHERE customer_id = $1", customer_id
    )
    spans = [(row["starting_on"], row["ending_before"]) for row in rows]
    await mark_spans(connection, customer_id, spans, now)


async def mark_spans(
    connection: asyncpg.Connection,
    customer_id: UUID,
    spans: Iterable[tuple[datetime, datetime | None]],
    now: datetime,
) -> None:
    """Every month that the spans [start, end) touch and that can have a draft by now."""
    months = {month.date() for begins, ends in spans for month in draft_months(begins, ends, now)}
    await connection.execute(
        "INSERT INTO stale_draft (customer_id, month) SELECT $1, unnest($2::date[])",
        customer_id,
        sorted(months),
    )


async def mark_credits(
    connection: asyncpg.Connection,
    customer_id: UUID,
    spans: Iterable[tuple[datetime, datetime]],
    now: datetime,
) -> None:
    """The drafts that grants of [effective_at, expires_at) may pay for, after one was made, edited
    (both its spans) or voided. The period that `now` is in may reach to a grant that begins later.
    """
    sooner = [(min(effective_at, now), expires_at) for effective_at, expires_at in spans]
    await mark_spans(connection, customer_id, sooner, now)


async def mark_credited(connection: asyncpg.Connection, customer_id: UUID, now: datetime) -> None:
    """Every draft of a customer that has grants, after an invoice gave credits back or takes some
    again; of one that has none, no draft is stale."""
    if await connection.fetchval(
        "SELECT EXISTS (SELECT FROM credit_grant WHERE customer_id = $1)", customer_id
    ):
        await mark_customer(connection, customer_id, now)


# The projector marks references as they were posted, many a row, the API marks customers. The rows
# have no index for this, which would cost every flush more than it costs a read to look at them.
# Pricing may put a mark back, under an id no higher than it had, until its turn comes.
_OF_CUSTOMER = """
    FROM stale_draft WHERE (customer_id = ANY($1::uuid[]) OR posted && ARRAY(
        SELECT r.reference FROM customer_reference r WHERE r.customer_id = ANY($1::uuid[])))
"""
_NEWEST = f"SELECT max(id) {_OF_CUSTOMER}"
_WAITING = f"SELECT EXISTS (SELECT {_OF_CUSTOMER} AND id <= $2)"


async def wait_for_refresh(context: Context, *customer_ids: UUID) -> None:
    """Read your writes: a client that has just put a customer on a plan finds the draft, and
    usage that shows in a usage query is in the invoice. Waits until the marks present at the time
    of the request are gone: pricing takes each away in the transaction that writes its invoice.

    Bounded: when pricing is behind, the reply shows the invoices as they are; their `as_of` says
    up to when usage is in them.
    """
    if not customer_ids:
        return  # who asks about all takes what there is
    newest = await context.value(_NEWEST, customer_ids)
    if newest is not None:
        await _wait_while(context, _WAITING, customer_ids, newest)


async def wait_for_comparison(context: Context, invoice_id: UUID) -> None:
    """Until the usage that was counted for a finalized invoice is compared with it; bounded too."""
    await _wait_while(
        context, "SELECT EXISTS (SELECT FROM late_mark WHERE invoice_id = $1)", invoice_id
    )


async def _wait_while(context: Context, query: str, *values: object) -> None:
    """Until the query answers false, or a read has waited long enough: by the clock, however
    slowly PostgreSQL answers."""
    loop = asyncio.get_running_loop()
    until = loop.time() + REFRESH_WAIT_S
    while await context.value(query, *values) and loop.time() < until:
        await asyncio.sleep(REFRESH_POLL_S)
