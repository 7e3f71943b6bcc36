"""The credits that invoices of a generation take: of finalized invoices what those had available,
and of drafts what finalized invoices and the generation's own drafts before them have left. Reads
only.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from services.domain.pricing.book import CreditBook
from services.projector.credits_postgres import read_grants, settled_credits
from services.replay.targets_postgres import Target
from services.runtime.credit_rows import read_deductions

_CREDITED = "SELECT DISTINCT customer_id FROM credit_grant"
_INVOICES = """
SELECT id, customer_plan_id, starts_at, status, credits FROM invoice
WHERE status <> 'VOID' AND customer_id = ANY($1)
"""


async def with_credits(
    connection: asyncpg.Connection, targets: Sequence[Target]
) -> tuple[list[Target], CreditBook]:
    """Targets in the order in which they take credits, and what there is to take. Priced in that
    order, a target takes the place of the live draft of its period."""
    credited = {row["customer_id"] for row in await connection.fetch(_CREDITED)}
    mine = [target.draft for target in targets if target.draft.customer_id in credited]
    if not mine:
        return list(targets), CreditBook({}, {})
    rows = await connection.fetch(_INVOICES, list({draft.customer_id for draft in mine}))
    invoices = {(row["customer_plan_id"], row["starts_at"]): row for row in rows}
    named = [_named(target, invoices) for target in targets]
    final = [row for row in rows if row["status"] == "FINALIZED"]
    settled = dict.fromkeys([row["id"] for row in final], ()) | await settled_credits(
        connection, final
    )
    grants = await read_grants(connection, mine)
    book = CreditBook(grants, await read_deductions(connection, grants), settled)
    return sorted(named, key=lambda target: target.draft.taker.place), book


def _named(target: Target, invoices: dict[tuple[UUID, object], asyncpg.Record]) -> Target:
    """Under the id of its invoice, where there is one: the order of invoices goes by ids too."""
    row = invoices.get((target.customer_plan_id, target.draft.period.start))
    if row is None:
        return target
    return replace(target, draft=target.draft._replace(invoice_id=row["id"]))
