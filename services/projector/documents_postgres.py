"""What invoices come to by the usage that a connection sees: the one way to price an invoice that
is not a stale draft. Reads only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import asyncpg

from services.domain.period import Period
from services.domain.pricing.book import CreditBook
from services.domain.schedule import BilledPeriod, Schedule
from services.projector.beside import beside
from services.projector.credits_postgres import with_usage
from services.projector.drafts import StaleDraft, draft_of
from services.projector.pricing import price_all
from services.projector.quantities_postgres import read_quantities
from services.projector.turns_postgres import held_at_work
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf

_TERMS = f"SELECT {TERMS_COLUMNS} FROM customer_plan c WHERE c.id = ANY($1)"  # noqa: S608 (constants)


async def drafts_of(
    connection: asyncpg.Connection, shelf: TermsShelf, invoices: Sequence[asyncpg.Record]
) -> list[StaleDraft]:
    """What there is to price of invoices: rows with id, customer_plan_id, starts_at and ends_at."""
    rows = await connection.fetch(_TERMS, list({row["customer_plan_id"] for row in invoices}))
    terms = {held.id: held for held in await shelf.get(connection, rows)}
    return [
        draft_of(
            row["id"],
            terms[row["customer_plan_id"]],
            billed_in(terms[row["customer_plan_id"]].schedule, row["starts_at"], row["ends_at"]),
        )
        for row in invoices
    ]


async def documents_of(
    connection: asyncpg.Connection,
    drafts: Sequence[StaleDraft],
    generation: int,
    book: CreditBook,
) -> Mapping[UUID, bytes]:
    """By invoice id, its document."""
    quantities = await read_quantities(connection, drafts, generation)
    credits_left = await with_usage(connection, drafts, book, quantities, generation)
    async with held_at_work(connection):
        priced = await beside(partial(price_all, drafts, quantities, credits_left), quantities)
    return {each.invoice_id: each.document for each in priced}


def billed_in(schedule: Schedule, starts_at: datetime, ends_at: datetime) -> BilledPeriod:
    """The billing period of an invoice: the plan may have been ended elsewhere since, which the
    invoice has not followed."""
    held = Period(starts_at.astimezone(UTC), ends_at.astimezone(UTC))
    billed = replace(schedule, ends=None).period_at(held.start)
    assert billed is not None, f"an invoice begins before its plan, at {held.start}"
    return replace(billed, held=held)
