"""Which invoices a generation has: every invoice there is, and every period of a customer's plan in
which the generation found usage. Reads only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg

from services.domain.period import Period, month_start, monthly_period
from services.projector.drafts import StaleDraft
from services.projector.drafts_postgres import draft_of
from services.runtime.plan_rows import PlanShelf

_TARGETS = """
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
SELECT c.id, c.customer_id, c.plan_id, c.starting_on, c.ending_before, either.month
FROM either JOIN customer_plan c ON c.id = either.id
JOIN customer u ON u.id = c.customer_id
-- An archived customer keeps its finalized invoices; its drafts are void.
WHERE u.archived_at IS NULL OR either.final
ORDER BY c.id, either.month
"""


@dataclass(frozen=True, slots=True)
class Target:
    """One period of a customer's plan. `draft.invoice_id` is made up: it only names the target
    among those that are priced together."""

    customer_plan_id: UUID
    draft: StaleDraft


async def read_targets(
    connection: asyncpg.Connection, shelf: PlanShelf, generation: int
) -> list[Target]:
    """All of them, in one order; of the caller's snapshot."""
    rows = await connection.fetch(_TARGETS, generation)
    plans = await shelf.get(connection, {row["plan_id"] for row in rows})
    return [
        Target(row["id"], draft_of(uuid4(), row["customer_id"], plans[row["plan_id"]], period))
        for row, period in _periods(rows)
    ]


def _periods(rows: list[asyncpg.Record]) -> Iterator[tuple[asyncpg.Record, Period]]:
    for row in rows:
        month: datetime = month_start(row["month"])
        period = monthly_period(month, row["starting_on"], row["ending_before"])
        if period is not None:
            yield row, period
