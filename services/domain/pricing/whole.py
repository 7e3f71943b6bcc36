"""What applies to an invoice as a whole: trial, minimum, and the conversion of a custom pricing
unit to a currency. Exact; each is an adjustment with its own line (METRONOME 3.8).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from services.domain.money import CreditType
from services.domain.number import ZERO, add, multiply, subtract
from services.domain.plan import Minimum, OverageRate, Plan
from services.domain.pricing.credits import Deduction

TRIAL_NAME = "Trial"


class AdjustmentKind(StrEnum):
    """Why an invoice is adjusted."""

    TRIAL = "trial"
    MINIMUM = "minimum"
    CREDIT = "credit"


@dataclass(frozen=True, slots=True)
class InvoiceAdjustment:
    """An amount added to the invoice; below zero where it takes away."""

    kind: AdjustmentKind
    name: str
    amount: Decimal
    unit: CreditType
    credit_grant_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TrialTerms:
    """A trial is free up to the cap, in the plan's pricing unit; without a cap it is free."""

    spending_cap: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Conversion:
    """What is left in a custom pricing unit, as money of a currency."""

    quantity: Decimal
    factor: Decimal
    amount: Decimal
    unit: CreditType


def trial_discount(subtotal: Decimal, trial: TrialTerms) -> Decimal:
    """What a trial takes off, at least 0."""
    if subtotal <= 0:
        return ZERO
    return subtotal if trial.spending_cap is None else min(subtotal, trial.spending_cap)


def trial_adjustment(discount: Decimal, unit: CreditType) -> InvoiceAdjustment:
    """The line of a trial; there, like its invoice, even when it takes off nothing."""
    return InvoiceAdjustment(AdjustmentKind.TRIAL, TRIAL_NAME, subtract(ZERO, discount), unit)


def minimum_adjustments(
    minimums: Iterable[Minimum], unit: CreditType, spend: Decimal
) -> list[InvoiceAdjustment]:
    """What the spend lacks to the minimum of its unit, if it does. Spend is what was used, before
    any credits: prepaid usage counts towards a minimum. A minimum is what an invoice comes to at
    least, so after a conversion spend has in it what the pricing unit's minimum added."""
    return [
        InvoiceAdjustment(
            AdjustmentKind.MINIMUM, minimum.name, subtract(minimum.value, spend), unit
        )
        for minimum in minimums
        if minimum.unit.id == unit.id and spend < minimum.value
    ]


def credit_adjustment(deduction: Deduction) -> InvoiceAdjustment:
    """The line of a credit grant."""
    grant = deduction.grant
    amount = subtract(ZERO, deduction.amount)
    return InvoiceAdjustment(AdjustmentKind.CREDIT, grant.name, amount, grant.unit, grant.id)


def rate_of(rates: Iterable[OverageRate], unit: CreditType) -> OverageRate | None:
    """The overage rate of a pricing unit; none for a plan in a currency."""
    return next((rate for rate in rates if rate.unit.id == unit.id), None)


def invoice_unit(plan: Plan) -> CreditType:
    """What an invoice is due in. `plan`: as it is in the invoice's period."""
    rate = rate_of(plan.overage_rates, plan.unit)
    return plan.unit if rate is None else rate.fiat


def converted(due: Decimal, rate: OverageRate) -> Conversion:
    """What is due in a custom unit, in the currency."""
    factor = rate.to_fiat_conversion_factor
    return Conversion(due, factor, multiply(due, factor), rate.fiat)


def total_of(adjustments: Iterable[InvoiceAdjustment], unit: CreditType) -> Decimal:
    """The sum of the adjustments in one unit."""
    total = ZERO
    for adjustment in adjustments:
        if adjustment.unit.id == unit.id:
            total = add(total, adjustment.amount)
    return total
