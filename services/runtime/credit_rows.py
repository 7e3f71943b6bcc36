"""Credit grants as PostgreSQL holds them, and what invoices take from them, which stands in the
invoices' documents and nowhere else. Reads only.
"""

from collections.abc import Iterable
from datetime import UTC
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.domain.number import ZERO, subtract
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.ledger import InvoiceDeduction
from services.runtime.plan_rows import Units

# Of credit_grant g.
GRANT_COLUMNS = """
    g.id, g.customer_id, g.name, g.credit_type_id, g.amount, g.priority, g.effective_at,
    g.expires_at, g.product_ids
"""

# An invoice that is void has given its credits back; one that was not priced yet has no document.
_DEDUCTIONS = """
SELECT i.customer_id, i.id, i.ends_at, i.status, a.value ->> 'credit_grant_id' AS grant_id,
    a.value ->> 'total' AS total
FROM unnest($1::uuid[]) AS k(customer_id)
CROSS JOIN LATERAL (
    SELECT i.customer_id, i.id, i.ends_at, i.status, i.document -> 'invoice_adjustments' AS every
    FROM invoice i WHERE i.customer_id = k.customer_id AND i.status <> 'VOID' OFFSET 0
) AS i
CROSS JOIN LATERAL jsonb_array_elements(i.every) AS a(value)
WHERE a.value ? 'credit_grant_id'
ORDER BY i.ends_at, i.id
"""


def grant_of(row: asyncpg.Record, units: Units) -> CreditGrant:
    """A row with GRANT_COLUMNS."""
    return CreditGrant(
        id=row["id"],
        name=row["name"],
        unit=units[row["credit_type_id"]],
        amount=row["amount"],
        priority=row["priority"],
        effective_at=row["effective_at"].astimezone(UTC),
        expires_at=row["expires_at"].astimezone(UTC),
        product_ids=tuple(row["product_ids"]),
    )


async def read_deductions(
    connection: asyncpg.Connection, customer_ids: Iterable[UUID]
) -> dict[UUID, list[InvoiceDeduction]]:
    """By customer, what its invoices take from its grants, in the order in which they are paid; of
    drafts as they were priced last. Customers whose invoices take nothing are absent."""
    found: dict[UUID, list[InvoiceDeduction]] = {}
    for row in await connection.fetch(_DEDUCTIONS, list(set(customer_ids))):
        deduction = InvoiceDeduction(
            grant_id=UUID(row["grant_id"]),
            invoice_id=row["id"],
            amount=subtract(ZERO, Decimal(row["total"])),
            effective_at=row["ends_at"].astimezone(UTC),
            pending=row["status"] == "DRAFT",
        )
        found.setdefault(row["customer_id"], []).append(deduction)
    return found
