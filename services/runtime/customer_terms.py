"""What a customer has of a plan, as PostgreSQL holds it: when it holds, own prices and rates, and
a trial. Reads only.

Customers without prices of their own share one `PlanTerms` a plan, so that their invoices share a
plan object, by which texts of documents are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.domain.customer_plan_faults import TrialSpec
from services.domain.meter import Aggregation
from services.domain.plan import Plan
from services.domain.pricing.adjustment import AdjustmentType, PriceAdjustment
from services.domain.pricing.terms import OverageRateAdjustment, PlanTerms
from services.domain.pricing.whole import TrialTerms
from services.domain.schedule import BillingCycle, BillingFrequency, Schedule
from services.runtime.json import decode_json
from services.runtime.plan_rows import PlanShelf

# Customer plans with prices of their own that are kept; past it they are made anew.
OWN_TERMS_MAX = 10_000

# Of customer_plan c.
TERMS_COLUMNS = """
    c.id, c.customer_id, c.plan_id, c.starting_on, c.ending_before, c.price_adjustments,
    c.trial_spec, c.overage_rate_adjustments
"""
_LATEST = "SELECT id FROM billable_metric WHERE id = ANY($1) AND aggregation_type = $2"


class CustomerTerms(NamedTuple):
    """A customer's plan, ready to be priced. `carries_on`: what was used in a period may change
    what a later one comes to."""

    id: UUID
    customer_id: UUID
    plan: Plan
    terms: PlanTerms
    schedule: Schedule
    trial: TrialTerms | None
    carries_on: bool


@dataclass(frozen=True, slots=True)
class _Shelved:
    plan: Plan
    terms: PlanTerms
    carries_on: bool


class TermsShelf:
    """Terms of customer plans; plans are read once."""

    def __init__(self) -> None:
        self._plans = PlanShelf()
        self._shelved: dict[UUID, _Shelved] = {}
        self._own: dict[UUID, PlanTerms] = {}

    async def get(
        self, connection: asyncpg.Connection, rows: Sequence[asyncpg.Record]
    ) -> list[CustomerTerms]:
        """Of rows with TERMS_COLUMNS, in their order."""
        missing = {row["plan_id"] for row in rows} - self._shelved.keys()
        if missing:
            await self._shelve(connection, missing)
        return [self._terms(row) for row in rows]

    async def _shelve(self, connection: asyncpg.Connection, plan_ids: set[UUID]) -> None:
        plans = await self._plans.get(connection, plan_ids)
        metrics = {
            charge.metric_id
            for plan_id in plan_ids
            for charge in plans[plan_id].charges
            if charge.metric_id is not None
        }
        found = await connection.fetch(_LATEST, list(metrics), Aggregation.LATEST.value)
        latest = {row["id"] for row in found}
        for plan_id in plan_ids:
            plan = plans[plan_id]
            # Increments are of the last value before; tiers run on.
            carries_on = any(
                charge.tier_reset_frequency > 1 or charge.metric_id in latest
                for charge in plan.charges
            )
            self._shelved[plan_id] = _Shelved(plan, PlanTerms(plan), carries_on)

    def _terms(self, row: asyncpg.Record) -> CustomerTerms:
        shelved = self._shelved[row["plan_id"]]
        plan, terms, trial, trial_days = shelved.plan, shelved.terms, None, 0
        if row["price_adjustments"] is not None or row["overage_rate_adjustments"] is not None:
            terms = self._own_terms(plan, row)
        if row["trial_spec"] is not None:
            spec = trial_spec_of(row["trial_spec"])
            trial, trial_days = TrialTerms(spec.spending_cap), spec.length_in_days
        schedule = _schedule(
            plan.billing_frequency,
            plan.billing_cycle,
            row["starting_on"],
            row["ending_before"],
            trial_days,
        )
        return CustomerTerms(
            row["id"], row["customer_id"], plan, terms, schedule, trial, shelved.carries_on
        )

    def _own_terms(self, plan: Plan, row: asyncpg.Record) -> PlanTerms:
        """They are given with the plan and never change."""
        found = self._own.get(row["id"])
        if found is None:
            if len(self._own) >= OWN_TERMS_MAX:
                self._own.clear()
            found = self._own[row["id"]] = PlanTerms(
                plan,
                adjustments_of(row["price_adjustments"]),
                overage_of(row["overage_rate_adjustments"]),
            )
        return found


@lru_cache(maxsize=10_000)
def _schedule(
    frequency: BillingFrequency,
    cycle: BillingCycle,
    begins: datetime,
    ends: datetime | None,
    trial_days: int,
) -> Schedule:
    """Many customers have the same; made once."""
    return Schedule(frequency, cycle, begins, ends, trial_days)


def adjustments_of(stored: str | None) -> tuple[PriceAdjustment, ...]:
    """The column customer_plan.price_adjustments."""
    return tuple(
        PriceAdjustment(
            UUID(item["charge_id"]),
            AdjustmentType(item["adjustment_type"]),
            Decimal(item["value"]),
            item["start_period"],
            None if item["tier"] is None else Decimal(item["tier"]),
        )
        for item in decode_json(stored or "[]")
    )


def overage_of(stored: str | None) -> tuple[OverageRateAdjustment, ...]:
    """The column customer_plan.overage_rate_adjustments."""
    return tuple(
        OverageRateAdjustment(
            UUID(item["custom_credit_type_id"]),
            UUID(item["fiat_currency_credit_type_id"]),
            Decimal(item["to_fiat_conversion_factor"]),
        )
        for item in decode_json(stored or "[]")
    )


def trial_spec_of(stored: str) -> TrialSpec:
    """The column customer_plan.trial_spec, where it is not null."""
    spec = decode_json(stored)
    cap = spec["spending_cap"]
    if cap is None:
        return TrialSpec(spec["length_in_days"])
    return TrialSpec(spec["length_in_days"], Decimal(cap["amount"]), UUID(cap["credit_type_id"]))
