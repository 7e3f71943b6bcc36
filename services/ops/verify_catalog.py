"""Reads what invoices are made of: plans, who has which, by which texts events name a customer.
Within the caller's snapshot; decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from uuid import UUID

import asyncpg

from services.domain.meter import BillableMetric
from services.domain.period import month_start
from services.domain.plan import Plan
from services.domain.reference.bill import Span
from services.runtime.customer_terms import (
    TERMS_COLUMNS,
    adjustments_of,
    overage_of,
    trial_spec_of,
)
from services.runtime.metric_rows import COLUMNS, metric
from services.runtime.plan_rows import PlanShelf

_SPANS = f"""
SELECT {TERMS_COLUMNS}
FROM customer_plan c JOIN customer u ON u.id = c.customer_id WHERE u.archived_at IS NULL
"""  # noqa: S608 (a constant)
_METRICS = f"SELECT {COLUMNS} FROM billable_metric"  # noqa: S608 (a constant)
_MARKS = """
SELECT coalesce(m.customer_id, r.customer_id), min(m.month) FROM stale_mark m
LEFT JOIN customer_reference r ON r.reference = m.reference
WHERE m.customer_id IS NOT NULL OR r.customer_id IS NOT NULL
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Billing:
    """Everything that pricing looks at beside usage."""

    spans: Mapping[UUID, Span]  # by customer_plan; of customers that are not archived
    customers: Mapping[UUID, UUID]  # customer_plan -> customer
    metrics: Mapping[UUID, BillableMetric]  # archived ones too
    pending: Mapping[UUID, datetime]  # customer -> the first month with a mark in stale_mark

    def is_pending(self, customer_id: UUID, ends_at: datetime) -> bool:
        """Whether something changed in or before a period and is not priced yet."""
        since = self.pending.get(customer_id)
        return since is not None and since < ends_at


async def read_billing(connection: asyncpg.Connection) -> Billing:
    """As of the connection's snapshot."""
    references: dict[UUID, set[str]] = {}
    for row in await connection.fetch("SELECT reference, customer_id FROM customer_reference"):
        references.setdefault(row["customer_id"], set()).add(row["reference"])
    rows = await connection.fetch(_SPANS)
    plans = await PlanShelf().get(connection, {row["plan_id"] for row in rows})
    metrics = [metric(row) for row in await connection.fetch(_METRICS)]
    return Billing(
        spans={
            row["id"]: _span(
                row, frozenset(references.get(row["customer_id"], ())), plans[row["plan_id"]]
            )
            for row in rows
        },
        customers={row["id"]: row["customer_id"] for row in rows},
        metrics={each.id: each for each in metrics},
        pending={row[0]: month_start(row[1]) for row in await connection.fetch(_MARKS)},
    )


def _span(row: asyncpg.Record, references: frozenset[str], plan: Plan) -> Span:
    trial = None if row["trial_spec"] is None else trial_spec_of(row["trial_spec"])
    cap = None if trial is None else trial.spending_cap
    return Span(
        row["id"],
        references,
        plan,
        row["starting_on"].astimezone(UTC),
        _utc(row["ending_before"]),
        adjustments_of(row["price_adjustments"]),
        {
            own.fiat_id: own.to_fiat_conversion_factor
            for own in overage_of(row["overage_rate_adjustments"])
        },
        0 if trial is None else trial.length_in_days,
        None if cap is None else Fraction(cap),
    )


def _utc(instant: datetime | None) -> datetime | None:
    return None if instant is None else instant.astimezone(UTC)
