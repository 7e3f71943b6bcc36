"""What makes the terms contradict themselves that a customer gets with a plan or as credits: every
fault with its field, in the words of `plans/add` and `credits/createGrant` (METRONOME 3.3, 3.9).
Pure. Price adjustments are in `services.domain.pricing.adjustment`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from services.domain.number import text_of
from services.domain.plan import Plan
from services.domain.plan_faults import Fault
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.terms import OverageRateAdjustment

# Ten years: a trial is one invoice, and no period of it can be left open for ever.
TRIAL_DAYS_MAX = 3_650


@dataclass(frozen=True, slots=True)
class TrialSpec:
    """A trial as it is asked for."""

    length_in_days: int
    spending_cap: Decimal | None = None
    spending_cap_unit_id: UUID | None = None


def trial_faults(plan: Plan, trial: TrialSpec) -> list[Fault]:
    """What is wrong with a trial of a plan."""
    return list(_trial(plan, trial))


def _trial(plan: Plan, trial: TrialSpec) -> Iterator[Fault]:
    if not 1 <= trial.length_in_days <= TRIAL_DAYS_MAX:
        reason = f"must be 1 to {TRIAL_DAYS_MAX}, not {trial.length_in_days}"
        yield Fault("trial_spec.length_in_days", reason)
    if trial.spending_cap is None:
        return
    if trial.spending_cap < 0:
        reason = f"must be 0 or more, not {text_of(trial.spending_cap)}"
        yield Fault("trial_spec.spending_cap.amount", reason)
    if trial.spending_cap_unit_id != plan.unit.id:
        reason = f"must be the plan's pricing unit, {plan.unit.id}"
        yield Fault("trial_spec.spending_cap.credit_type_id", reason)


def overage_faults(plan: Plan, adjustments: Sequence[OverageRateAdjustment]) -> list[Fault]:
    """What is wrong with a customer's own overage rates: each replaces one that the plan has."""
    rates = {(rate.unit.id, rate.fiat.id) for rate in plan.overage_rates}
    faults: list[Fault] = []
    seen: set[tuple[UUID, UUID]] = set()
    for index, own in enumerate(adjustments):
        where = f"overage_rate_adjustments[{index}]"
        pair = own.unit_id, own.fiat_id
        if pair not in rates:
            reason = f"the plan has no overage rate from {own.unit_id} to {own.fiat_id}"
            faults.append(Fault(f"{where}.custom_credit_type_id", reason))
        elif pair in seen:
            faults.append(Fault(where, "a second rate between the same two units"))
        seen.add(pair)
        if own.to_fiat_conversion_factor <= 0:
            reason = f"must be greater than 0, not {text_of(own.to_fiat_conversion_factor)}"
            faults.append(Fault(f"{where}.to_fiat_conversion_factor", reason))
    return faults


def grant_faults(grant: CreditGrant, paid: Decimal) -> list[Fault]:
    """What is wrong with a credit grant and what was paid for it."""
    return list(_grant(grant, paid))


def _grant(grant: CreditGrant, paid: Decimal) -> Iterator[Fault]:
    if grant.amount <= 0:
        reason = f"must be greater than 0, not {text_of(grant.amount)}"
        yield Fault("grant_amount.amount", reason)
    if paid < 0:
        yield Fault("paid_amount.amount", f"must be 0 or more, not {text_of(paid)}")
    if grant.priority <= 0:
        yield Fault("priority", f"must be greater than 0, not {text_of(grant.priority)}")
    if grant.expires_at <= grant.effective_at:
        yield Fault("expires_at", "must be after effective_at")
    if len(set(grant.product_ids)) != len(grant.product_ids):
        yield Fault("product_ids", "names a product twice")
