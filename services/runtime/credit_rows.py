"""Credit grants as PostgreSQL holds them, and what invoices take from them, which stands in the
invoices' documents and nowhere else. Reads only.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.domain.number import ZERO, subtract
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.ledger import InvoiceDeduction
from services.runtime.json import decode_json, encode_json
from services.runtime.plan_rows import Units

# Of credit_grant g.
GRANT_COLUMNS = """
    g.id, g.customer_id, g.name, g.credit_type_id, g.amount, g.priority, g.effective_at,
    g.expires_at, g.product_ids
"""

# Of credit_grant g: whether it pays for anything. What a plan granted with a period that it then
# did not have, because it was ended before, was never granted.
STANDING = """
    g.voided_at IS NULL AND coalesce(g.effective_at < (
        SELECT p.ending_before FROM customer_plan p WHERE p.id = g.customer_plan_id), true)
"""

# An invoice that is void has given its credits back; one that was not priced yet has no document.
# The status is asked for outside: inside, an index of all that is not void would do as well, as far
# as a planner without statistics can tell.
_DEDUCTIONS = """
SELECT i.customer_id, i.id, i.ends_at, i.status, a.value ->> 'credit_grant_id' AS grant_id,
    a.value ->> 'total' AS total
FROM unnest($1::uuid[]) AS k(customer_id)
CROSS JOIN LATERAL (
    SELECT i.customer_id, i.id, i.ends_at, i.status, i.document -> 'invoice_adjustments' AS every
    FROM invoice i WHERE i.customer_id = k.customer_id OFFSET 0
) AS i
CROSS JOIN LATERAL jsonb_array_elements(i.every) AS a(value)
WHERE i.status <> 'VOID' AND a.value ? 'credit_grant_id'
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


def stored_credits(available: Iterable[AvailableGrant]) -> str:
    """The column invoice.credits; amounts are text, so that no reader can lose a digit."""
    return encode_json(
        [
            {
                "id": each.grant.id,
                "name": each.grant.name,
                "credit_type_id": each.grant.unit.id,
                "amount": str(each.grant.amount),
                "priority": str(each.grant.priority),
                "effective_at": each.grant.effective_at,
                "expires_at": each.grant.expires_at,
                "product_ids": each.grant.product_ids,
                "available": str(each.available),
            }
            for each in available
        ]
    ).decode()


def credits_of(stored: str, units: Units) -> list[AvailableGrant]:
    """The column invoice.credits, where it is not null."""
    return [
        AvailableGrant(
            CreditGrant(
                id=UUID(item["id"]),
                name=item["name"],
                unit=units[UUID(item["credit_type_id"])],
                amount=Decimal(item["amount"]),
                priority=Decimal(item["priority"]),
                effective_at=datetime.fromisoformat(item["effective_at"]),
                expires_at=datetime.fromisoformat(item["expires_at"]),
                product_ids=tuple(map(UUID, item["product_ids"])),
            ),
            Decimal(item["available"]),
        )
        for item in decode_json(stored)
    ]


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
