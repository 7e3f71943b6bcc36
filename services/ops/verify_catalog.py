"""Reads what invoices are made of: plans, who has which, by which texts events name a customer.
Within the caller's snapshot; decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

import asyncpg

from services.domain.meter import Aggregation
from services.domain.reference.bill import Span
from services.runtime.plan_rows import PlanShelf

_SPANS = """
SELECT c.id, c.customer_id, c.plan_id, c.starting_on, c.ending_before
FROM customer_plan c JOIN customer u ON u.id = c.customer_id WHERE u.archived_at IS NULL
"""
_MARKS = """
SELECT DISTINCT coalesce(m.customer_id, r.customer_id), m.month FROM stale_mark m
LEFT JOIN customer_reference r ON r.reference = m.reference
WHERE m.customer_id IS NOT NULL OR r.customer_id IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Billing:
    """Everything that pricing looks at beside usage."""

    spans: Mapping[UUID, Span]  # by customer_plan; of customers that are not archived
    customers: Mapping[UUID, UUID]  # customer_plan -> customer
    aggregations: Mapping[UUID, Aggregation]  # by metric, archived ones too
    pending: frozenset[tuple[UUID, date]]  # (customer, month) with a mark in stale_mark


async def read_billing(connection: asyncpg.Connection) -> Billing:
    """As of the connection's snapshot."""
    references: dict[UUID, set[str]] = {}
    for row in await connection.fetch("SELECT reference, customer_id FROM customer_reference"):
        references.setdefault(row["customer_id"], set()).add(row["reference"])
    rows = await connection.fetch(_SPANS)
    plans = await PlanShelf().get(connection, {row["plan_id"] for row in rows})
    metrics = await connection.fetch("SELECT id, aggregation_type FROM billable_metric")
    return Billing(
        spans={
            row["id"]: Span(
                row["id"],
                frozenset(references.get(row["customer_id"], ())),
                plans[row["plan_id"]],
                row["starting_on"].astimezone(UTC),
                _utc(row["ending_before"]),
            )
            for row in rows
        },
        customers={row["id"]: row["customer_id"] for row in rows},
        aggregations={row["id"]: Aggregation(row["aggregation_type"]) for row in metrics},
        pending=frozenset(tuple(row) for row in await connection.fetch(_MARKS)),
    )


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.astimezone(UTC)
