"""What invoices come to by the usage that a connection sees: the one way to price an invoice that
is not a stale draft. Reads only.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC
from uuid import UUID

import asyncpg

from services.domain.period import Period
from services.projector.drafts_postgres import draft_of
from services.projector.pricer import price
from services.projector.quantities_postgres import read_quantities
from services.runtime.plan_rows import PlanShelf


async def documents_of(
    connection: asyncpg.Connection,
    shelf: PlanShelf,
    invoices: Sequence[asyncpg.Record],
    generation: int,
) -> Mapping[UUID, bytes]:
    """By invoice id, its document. `invoices`: rows with id, customer_id, plan_id, starts_at and
    ends_at."""
    plans = await shelf.get(connection, {row["plan_id"] for row in invoices})
    drafts = [
        draft_of(
            row["id"],
            row["customer_id"],
            plans[row["plan_id"]],
            Period(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC)),
        )
        for row in invoices
    ]
    quantities = await read_quantities(connection, drafts, generation)
    return {draft.invoice_id: price(draft, quantities).document for draft in drafts}
