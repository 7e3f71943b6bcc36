"""What of a customer's plan holds in one billing period: ramps, then the customer's own prices. The
result is a plan again, so it is worked out once for many invoices.

Ramps (`start_period`, METRONOME 3.3): charges of one name in one product are steps of one ramp, and
the step that began last holds; of minimums, and of overage rates, the last to begin for a pricing
unit holds. A step that has not begun does not exist yet.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar
from uuid import UUID

from services.domain.plan import Charge, ChargeType, Minimum, OverageRate, Plan
from services.domain.pricing.adjustment import PriceAdjustment, adjusted
from services.domain.schedule import BilledPeriod


@dataclass(frozen=True, slots=True)
class OverageRateAdjustment:
    """The customer's own rate from a custom pricing unit to a currency, in every step of a ramp
    (METRONOME 3.3)."""

    unit_id: UUID
    fiat_id: UUID
    to_fiat_conversion_factor: Decimal


_Step = TypeVar("_Step", Minimum, OverageRate)


def plan_at(
    plan: Plan,
    number: int,
    adjustments: Sequence[PriceAdjustment] = (),
    overage: Sequence[OverageRateAdjustment] = (),
) -> Plan:
    """The plan as it is in the regular period of this number; the same object where nothing of it
    ever changes."""
    if plan.starts == (0,) and not adjustments and not overage:
        return plan
    steps = _charge_steps(plan.charges, number)
    return replace(
        plan,
        charges=tuple(
            adjusted(_with_current_base(charge, plan.charges, steps), adjustments, number)
            for charge in steps
        ),
        minimums=_last_begun(plan.minimums, number),
        overage_rates=tuple(
            _with_own_factor(rate, overage) for rate in _last_begun(plan.overage_rates, number)
        ),
    )


def step_of(plan: Plan, number: int, adjustments: Sequence[PriceAdjustment] = ()) -> int:
    """From which period on the plan is as it is in this one."""
    starts: Sequence[int] = plan.starts
    if adjustments:
        starts = sorted({*starts, *(each.start_period for each in adjustments)})
    return starts[bisect_right(starts, number) - 1]


class PlanTerms:
    """A plan as a customer has it, each step of it worked out once: the same object for every
    invoice of a step. One is enough for all customers without prices of their own."""

    def __init__(
        self,
        plan: Plan,
        adjustments: Sequence[PriceAdjustment] = (),
        overage: Sequence[OverageRateAdjustment] = (),
    ) -> None:
        self._plan = plan
        self._adjustments = adjustments
        self._overage = overage
        self._steps: dict[tuple[int, bool], Plan] = {}

    def of(self, billed: BilledPeriod) -> Plan:
        """The plan as it is in a period, or during the trial that the period is."""
        step = step_of(self._plan, billed.number, self._adjustments), billed.trial
        found = self._steps.get(step)
        if found is None:
            found = plan_at(self._plan, billed.number, self._adjustments, self._overage)
            found = trial_plan(found) if billed.trial else found
            self._steps[step] = found
        return found


def trial_plan(plan: Plan) -> Plan:
    """The plan as it is during a trial: nothing that is not usage, no minimum (Metronome,
    "Configuring trials"). `plan`: the plan at period 0, whose prices a trial has."""
    usage = tuple(c for c in plan.charges if c.charge_type is ChargeType.USAGE)
    if len(usage) == len(plan.charges) and not plan.minimums:
        return plan
    return replace(plan, charges=usage, minimums=())


def _charge_steps(charges: tuple[Charge, ...], number: int) -> list[Charge]:
    """The charges that hold, in their order."""
    latest: dict[tuple[UUID, str], int] = {}
    for charge in charges:
        if charge.start_period <= number:
            key = _ramp(charge)
            latest[key] = max(latest.get(key, 0), charge.start_period)
    return [charge for charge in charges if latest.get(_ramp(charge)) == charge.start_period]


def _ramp(charge: Charge) -> tuple[UUID, str]:
    """Which ramp a charge is a step of."""
    return charge.product_id, charge.name


def _with_current_base(
    charge: Charge, charges: tuple[Charge, ...], steps: Iterable[Charge]
) -> Charge:
    """A composite that names a charge means the step that holds of that charge's ramp."""
    if not charge.base_charge_ids:
        return charge
    holding = {step.id for step in steps}
    superseded = {each.id: _ramp(each) for each in charges if each.id not in holding}
    named = {superseded[each] for each in charge.base_charge_ids if each in superseded}
    later = [step.id for step in steps if _ramp(step) in named]
    return replace(charge, base_charge_ids=(*charge.base_charge_ids, *later))


def _last_begun(steps: Iterable[_Step], number: int) -> tuple[_Step, ...]:
    """Of each unit the step that holds, in order."""
    begun = [step for step in steps if step.start_period <= number]
    latest = {
        step.unit.id: step.start_period for step in sorted(begun, key=lambda s: s.start_period)
    }
    return tuple(step for step in begun if latest[step.unit.id] == step.start_period)


def _with_own_factor(rate: OverageRate, overage: Iterable[OverageRateAdjustment]) -> OverageRate:
    for own in overage:
        if (own.unit_id, own.fiat_id) == (rate.unit.id, rate.fiat.id):
            return replace(rate, to_fiat_conversion_factor=own.to_fiat_conversion_factor)
    return rate
