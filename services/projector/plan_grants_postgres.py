"""The credits that plans grant, made grants like any other when the periods open with which they
are granted. Any number of projectors may do it: ids are derived from the place, so that each is
made once. What a customer was granted it keeps to its expiry, when the plan has ended too.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import asyncpg

from services.domain.period import draft_months
from services.domain.pricing.grant import granted_by_plan
from services.runtime.customer_terms import CustomerTerms

_MOMENT = timedelta(microseconds=1)
BY_PLAN = "plan"

# In order of id: two that make the same wait, and never for each other.
_GRANT = """
INSERT INTO credit_grant (id, customer_id, name, credit_type_id, amount, paid_amount,
    paid_credit_type_id, priority, effective_at, expires_at, reason, customer_plan_id, created_at,
    created_by)
SELECT g.*, $13::timestamptz, $14::text
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::numeric[], $6::numeric[],
    $7::uuid[], $8::numeric[], $9::timestamptz[], $10::timestamptz[], $11::text[], $12::uuid[]) AS g
ORDER BY 1
ON CONFLICT (id) DO NOTHING
RETURNING customer_id, effective_at, expires_at
"""
# Whoever prices another draft meanwhile does not see the new grants.
_MARK = "INSERT INTO stale_draft (customer_id, month) SELECT * FROM unnest($1::uuid[], $2::date[])"


async def grant_by_plans(
    connection: asyncpg.Connection, opened: Iterable[CustomerTerms], now: datetime
) -> None:
    """Make the grants of customer plans of which a period was opened, as far as they are granted by
    now, and mark the customers' drafts."""
    rows = [
        (
            grant.id,
            held.customer_id,
            grant.name,
            grant.unit.id,
            grant.amount,
            granted.amount_paid,
            granted.paid_unit.id,
            grant.priority,
            grant.effective_at,
            grant.expires_at,
            granted.reason,
            held.id,
        )
        for held in {held.id: held for held in opened if held.plan.credit_grants}.values()
        for granted, grant in granted_by_plan(held.plan, held.schedule, held.id, now + _MOMENT)
    ]
    if not rows:
        return
    columns = [list(column) for column in zip(*rows, strict=True)]
    made = await connection.fetch(_GRANT, *columns, now, BY_PLAN)
    marks = {
        (row["customer_id"], month.date())
        for row in made
        for month in draft_months(row["effective_at"], row["expires_at"], now)
    }
    if marks:
        await connection.execute(_MARK, *(list(column) for column in zip(*marks, strict=True)))
