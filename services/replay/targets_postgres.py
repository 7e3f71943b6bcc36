"""Which invoices a generation has: every invoice there is, and every period of a customer's plan in
which the generation found usage. Reads only.
"""

from dataclasses import dataclass
from uuid import UUID, uuid4

import asyncpg

from services.domain.period import month_start
from services.projector.drafts import StaleDraft, draft_of, marked_periods
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf

# Months of which every period that has begun by now is looked at, as the pricing does.
_TARGETS = f"""
WITH used AS (
    SELECT DISTINCT r.customer_id, u.starts_at AS month
    FROM usage_series s JOIN customer_reference r ON r.reference = s.reference
    JOIN usage_month u ON u.series_id = s.id WHERE s.generation = $1
), either AS (
    SELECT id, month, bool_or(final) AS final FROM (
        SELECT c.id, used.month, false AS final
        FROM used JOIN customer_plan c ON c.customer_id = used.customer_id
        UNION ALL
        SELECT i.customer_plan_id, date_trunc('month', i.starts_at, 'UTC'), i.status = 'FINALIZED'
        FROM invoice i WHERE i.status <> 'VOID') AS every
    GROUP BY id, month
)
SELECT {TERMS_COLUMNS}, either.month, now() AS now
FROM either JOIN customer_plan c ON c.id = either.id
JOIN customer u ON u.id = c.customer_id
-- An archived customer keeps its finalized invoices; its drafts are void.
WHERE u.archived_at IS NULL OR either.final
ORDER BY c.id, either.month
"""  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True)
class Target:
    """One period of a customer's plan. `draft.invoice_id` is made up: it only names the target
    among those that are priced together."""

    customer_plan_id: UUID
    draft: StaleDraft


async def read_targets(
    connection: asyncpg.Connection, shelf: TermsShelf, generation: int
) -> list[Target]:
    """All of them, in one order; of the caller's snapshot."""
    rows = await connection.fetch(_TARGETS, generation)
    every = await shelf.get(connection, rows)
    targets = {
        (held.id, billed.held.start): (held, billed)
        for row, held in zip(rows, every, strict=True)
        for billed in marked_periods(held, month_start(row["month"]), row["now"])
    }
    return [Target(held.id, draft_of(uuid4(), held, billed)) for held, billed in targets.values()]
