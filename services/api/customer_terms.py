"""What a customer gets with a plan for itself: price adjustments, a trial, overage rates. What is
asked for, whether it fits the plan, how it is stored; `services.runtime.customer_terms` reads it
back. Numbers inside jsonb are text, so that no reader of a column can lose a digit.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from services.api.errors import fault, refused
from services.api.fields import Body, ExactNumber, Identity, any_case
from services.api.plan_bodies import Periods, TrialDays
from services.domain.customer_plan_faults import TrialSpec, overage_faults, trial_faults
from services.domain.number import ZERO, text_of
from services.domain.plan import Plan
from services.domain.pricing.adjustment import (
    AdjustmentType,
    PriceAdjustment,
    adjustment_faults,
)
from services.domain.pricing.terms import OverageRateAdjustment
from services.runtime.json import encode_json

ADJUSTMENTS_MAX = 1_000
OVERAGE_MAX = 100


class PriceAdjustmentBody(Body):
    """One change to the prices of one charge; `quantity` for a quantity, `value` for the others."""

    charge_id: Identity
    adjustment_type: Annotated[AdjustmentType, any_case(AdjustmentType)]
    start_period: Periods
    value: Annotated[
        ExactNumber | None, Field(description="a percentage is a decimal: -0.05 is 5 % off")
    ] = None
    quantity: ExactNumber | None = None
    tier: Annotated[
        ExactNumber | None, Field(description="where the tier starts; absent: every tier")
    ] = None


class SpendingCapBody(Body):
    """How much a trial is free up to."""

    amount: ExactNumber
    credit_type_id: Identity


class TrialSpecBody(Body):
    """A trial before the plan's normal terms."""

    length_in_days: TrialDays
    spending_cap: SpendingCapBody | None = None


class OverageRateAdjustmentBody(Body):
    """The customer's own price of a unit of a custom pricing unit."""

    custom_credit_type_id: Identity
    fiat_currency_credit_type_id: Identity
    to_fiat_conversion_factor: ExactNumber


PriceAdjustments = Annotated[list[PriceAdjustmentBody], Field(max_length=ADJUSTMENTS_MAX)]
OverageRateAdjustments = Annotated[list[OverageRateAdjustmentBody], Field(max_length=OVERAGE_MAX)]

Stored = tuple[str | None, str | None, str | None]
"""The columns price_adjustments, trial_spec and overage_rate_adjustments of customer_plan."""


def stored_terms(
    plan: Plan,
    adjustments: Sequence[PriceAdjustmentBody],
    trial: TrialSpecBody | None,
    overage: Sequence[OverageRateAdjustmentBody],
) -> Stored:
    """The columns; raises ApiError that names everything that does not fit the plan."""
    prices = _prices(adjustments)
    rates = [
        OverageRateAdjustment(
            each.custom_credit_type_id,
            each.fiat_currency_credit_type_id,
            each.to_fiat_conversion_factor,
        )
        for each in overage
    ]
    spec = None if trial is None else _spec(trial)
    faults = [
        *adjustment_faults(plan, prices),
        *((each.field, each.reason) for each in overage_faults(plan, rates)),
        *((each.field, each.reason) for each in (trial_faults(plan, spec) if spec else ())),
    ]
    if faults:
        raise refused(*(fault(field, reason) for field, reason in faults))
    return (
        _json([_stored_price(each) for each in prices]),
        None if spec is None else _json(_stored_trial(spec)),
        _json([_stored_rate(each) for each in rates]),
    )


def _prices(bodies: Sequence[PriceAdjustmentBody]) -> list[PriceAdjustment]:
    """As the domain has them; raises where a value is missing or under the other name."""
    faults, found = [], []
    for index, body in enumerate(bodies):
        quantity = body.adjustment_type is AdjustmentType.QUANTITY
        named, other = ("quantity", "value") if quantity else ("value", "quantity")
        given = body.quantity if quantity else body.value
        where = f"price_adjustments[{index}]"
        if given is None:
            faults.append(fault(f"{where}.{named}", "is missing"))
        if (body.value if quantity else body.quantity) is not None:
            reason = f"an adjustment of type {body.adjustment_type.value} has a {named}"
            faults.append(fault(f"{where}.{other}", reason))
        found.append(
            PriceAdjustment(
                body.charge_id,
                body.adjustment_type,
                ZERO if given is None else given,
                body.start_period,
                body.tier,
            )
        )
    if faults:
        raise refused(*faults)
    return found


def _spec(trial: TrialSpecBody) -> TrialSpec:
    cap = trial.spending_cap
    if cap is None:
        return TrialSpec(trial.length_in_days)
    return TrialSpec(trial.length_in_days, cap.amount, cap.credit_type_id)


def _stored_price(adjustment: PriceAdjustment) -> dict[str, Any]:
    return {
        "charge_id": adjustment.charge_id,
        "adjustment_type": adjustment.adjustment_type,
        "start_period": adjustment.start_period,
        "value": text_of(adjustment.value),
        "tier": None if adjustment.tier is None else text_of(adjustment.tier),
    }


def _stored_trial(spec: TrialSpec) -> dict[str, Any]:
    cap = None
    if spec.spending_cap is not None:
        cap = {"amount": text_of(spec.spending_cap), "credit_type_id": spec.spending_cap_unit_id}
    return {"length_in_days": spec.length_in_days, "spending_cap": cap}


def _stored_rate(rate: OverageRateAdjustment) -> dict[str, Any]:
    return {
        "custom_credit_type_id": rate.unit_id,
        "fiat_currency_credit_type_id": rate.fiat_id,
        "to_fiat_conversion_factor": text_of(rate.to_fiat_conversion_factor),
    }


def _json(value: object) -> str | None:
    """Null where there is nothing: such customers share the plan's own prices."""
    return encode_json(value).decode() if value else None
