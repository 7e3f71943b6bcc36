"""What invoices come to by the usage that a connection sees: the one way to price an invoice that
is not a stale draft. Reads only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from services.domain.period import Period
from services.domain.schedule import BilledPeriod, Schedule
from services.projector.beside import beside
from services.projector.drafts import draft_of
from services.projector.pricer import price
from services.projector.quantities_postgres import read_quantities
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf

_TERMS = f"SELECT {TERMS_COLUMNS} FROM customer_plan c WHERE c.id = ANY($1)"  # noqa: S608 (constants)


async def documents_of(
    connection: asyncpg.Connection,
    shelf: TermsShelf,
    invoices: Sequence[asyncpg.Record],
    generation: int,
) -> Mapping[UUID, bytes]:
    """By invoice id, its document. `invoices`: rows with id, customer_plan_id, starts_at and
    ends_at."""
    rows = await connection.fetch(_TERMS, list({row["customer_plan_id"] for row in invoices}))
    terms = {held.id: held for held in await shelf.get(connection, rows)}
    drafts = [
        draft_of(
            row["id"],
            terms[row["customer_plan_id"]],
            billed_in(terms[row["customer_plan_id"]].schedule, row["starts_at"], row["ends_at"]),
        )
        for row in invoices
    ]
    quantities = await read_quantities(connection, drafts, generation)

    def work() -> Mapping[UUID, bytes]:
        return {draft.invoice_id: price(draft, quantities).document for draft in drafts}

    return await beside(work, quantities)


def billed_in(schedule: Schedule, starts_at: datetime, ends_at: datetime) -> BilledPeriod:
    """The billing period of an invoice: the plan may have been ended elsewhere since, which the
    invoice has not followed."""
    held = Period(starts_at.astimezone(UTC), ends_at.astimezone(UTC))
    billed = replace(schedule, ends=None).period_at(held.start)
    assert billed is not None, f"an invoice begins before its plan, at {held.start}"
    return replace(billed, held=held)
