"""Customer plans in the database and as replies show them."""

from datetime import datetime
from decimal import Decimal
from typing import NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.customer_rows import CustomerDetail, detail_of
from services.api.errors import fault, not_found, refused
from services.api.replies import CreditTypeName, Number, shown
from services.domain.number import ZERO, add, plain
from services.domain.schedule import DAY
from services.runtime.customer_terms import trial_spec_of
from services.runtime.json import decode_json
from services.runtime.plan_rows import Units

STATUSES = ("active", "ended", "upcoming")


class SpendingCap(TypedDict):
    """Up to what a trial is free, and how much of that is left."""

    amount: Number
    amount_remaining: Number
    credit_type: CreditTypeName


class TrialInfo(TypedDict):
    """The trial of a customer's plan."""

    ending_before: datetime
    spending_caps: list[SpendingCap]


class CustomerPlan(TypedDict):
    """Metronome's CustomerPlan."""

    id: UUID
    plan_id: UUID
    plan_name: str
    plan_description: str
    starting_on: datetime
    ending_before: NotRequired[datetime]
    net_payment_terms_days: NotRequired[Number | None]
    trial_info: NotRequired[TrialInfo]
    custom_fields: dict[str, str]


class PlanOfCustomer(TypedDict):
    """The plan half of CustomerAndPlan."""

    id: UUID
    name: str
    customer_plan_id: UUID
    starting_on: datetime
    ending_before: NotRequired[datetime]
    custom_fields: dict[str, str]


class CustomerAndPlan(TypedDict):
    """Metronome's CustomerAndPlanDetail."""

    customer_details: CustomerDetail
    plan_details: PlanOfCustomer


CUSTOMER_PLAN_COLUMNS = """
    s.id AS customer_plan_id, s.ordinal AS plan_ordinal, s.starting_on, s.ending_before,
    s.net_payment_terms_days, s.trial_spec, s.custom_fields AS customer_plan_custom_fields,
    p.id AS plan_id, p.name AS plan_name, p.description AS plan_description,
    p.custom_fields AS plan_custom_fields
"""

# What the invoice of a trial took off so far; null where there is no such invoice.
TRIAL_USED = """
    (SELECT i.document #> '{invoice_adjustments,0,total}' FROM invoice i
     WHERE s.trial_spec IS NOT NULL AND i.customer_plan_id = s.id
       AND i.starts_at = s.starting_on AND i.status <> 'VOID' LIMIT 1)::text AS trial_used
"""


def customer_plan_of(row: asyncpg.Record, units: Units) -> CustomerPlan:
    """A row with CUSTOMER_PLAN_COLUMNS and TRIAL_USED."""
    plan = CustomerPlan(
        id=row["customer_plan_id"],
        plan_id=row["plan_id"],
        plan_name=row["plan_name"],
        plan_description=row["plan_description"],
        starting_on=row["starting_on"],
        custom_fields=decode_json(row["customer_plan_custom_fields"]),
    )
    if row["ending_before"] is not None:
        plan["ending_before"] = row["ending_before"]
    if row["net_payment_terms_days"] is not None:
        plan["net_payment_terms_days"] = shown(row["net_payment_terms_days"])
    if row["trial_spec"] is not None:
        plan["trial_info"] = _trial_info(row, units)
    return plan


def _trial_info(row: asyncpg.Record, units: Units) -> TrialInfo:
    spec = trial_spec_of(row["trial_spec"])
    end: datetime = row["starting_on"] + spec.length_in_days * DAY
    if row["ending_before"] is not None:
        end = min(end, row["ending_before"])
    if spec.spending_cap is None or spec.spending_cap_unit_id is None:
        return TrialInfo(ending_before=end, spending_caps=[])
    unit = units[spec.spending_cap_unit_id]
    # An adjustment takes off, so it is below zero.
    used = ZERO if row["trial_used"] is None else Decimal(row["trial_used"])
    cap = SpendingCap(
        amount=plain(spec.spending_cap),
        amount_remaining=plain(add(spec.spending_cap, used)),
        credit_type=CreditTypeName(id=unit.id, name=unit.name),
    )
    return TrialInfo(ending_before=end, spending_caps=[cap])


def customer_and_plan_of(row: asyncpg.Record) -> CustomerAndPlan:
    """A row with CUSTOMER_PLAN_COLUMNS and the customer's DETAIL_COLUMNS."""
    plan = PlanOfCustomer(
        id=row["plan_id"],
        name=row["plan_name"],
        customer_plan_id=row["customer_plan_id"],
        starting_on=row["starting_on"],
        custom_fields=decode_json(row["plan_custom_fields"]),
    )
    if row["ending_before"] is not None:
        plan["ending_before"] = row["ending_before"]
    return CustomerAndPlan(customer_details=detail_of(row), plan_details=plan)


async def fetch_customer_plan(
    connection: asyncpg.Connection, customer_id: UUID, customer_plan_id: UUID
) -> asyncpg.Record:
    """The row, or 404 when the customer has no such plan."""
    row = await connection.fetchrow(
        "SELECT plan_id, starting_on, ending_before, price_adjustments FROM customer_plan"
        " WHERE id = $1 AND customer_id = $2",
        customer_plan_id,
        customer_id,
    )
    if row is None:
        raise not_found(f"customer {customer_id} or its customer plan", customer_plan_id)
    return row


def parse_status(text: str) -> list[str]:
    """The statuses that a query names."""
    wanted = [part.strip().lower() for part in text.split(",")]
    if "all" in wanted:
        return list(STATUSES)
    if any(part not in STATUSES for part in wanted):
        raise refused(fault("status", f"must be all or some of {', '.join(STATUSES)}"))
    return wanted
