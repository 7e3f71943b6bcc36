"""The order of arithmetic from metered quantities to an invoice's amounts. Pure and exact.

Before this, once for many invoices: `terms.PlanTerms`, which is ramps, then the customer's own
prices, and of a trial the usage charges only.

 1. unit conversion of the metered quantity, then started blocks      conversion
 2. tiers, on from the earlier periods of their window; each exact    tiers
 3. fixed charges: tiers of the quantity, prorated by day together    proration
 4. composites: a fraction of what their base comes to                charge
 5. minimum charges: what their base lacks                            charge
 6. a charge is the sum of its tiers, a line the sum of its
    product's charges (by group), the subtotal the sum of the lines   lines
 7. a trial takes off up to its cap                                   whole
 8. the plan's minimum, in its unit: what the subtotal lacks          whole
 9. credits, in their order, on pieces of the period at the prices
    of its lines                                                      credits
10. what is left of a custom pricing unit becomes currency, and the
    currency's minimum is of all that was used, with what step 8
    added to it                                                       whole
11. the total: what is due, rounded once                              services.domain.money

`reconcile` holds the sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.domain.money import CreditType, round_total
from services.domain.number import ZERO, add, multiply, subtract
from services.domain.plan import Plan
from services.domain.pricing.charge import ChargeLine, sum_of
from services.domain.pricing.credits import AvailableGrant, apply_credits, pieces_of
from services.domain.pricing.lines import (
    ProductLine,
    Share,
    WholePeriod,
    price_charges,
    price_lines,
    product_lines,
)
from services.domain.pricing.usage import PeriodUsage
from services.domain.pricing.whole import (
    Conversion,
    InvoiceAdjustment,
    TrialTerms,
    converted,
    credit_adjustment,
    minimum_adjustments,
    rate_of,
    total_of,
    trial_adjustment,
    trial_discount,
)
from services.domain.schedule import BilledPeriod

__all__ = [
    "ChargeLine",
    "Credits",
    "PricedInvoice",
    "ProductLine",
    "price_invoice",
    "price_period",
]


@dataclass(frozen=True, slots=True)
class Credits:
    """The credits that an invoice may use. `used_until`: usage from the period's start up to each
    of `credits.cuts_of`, in order, with the same earlier periods."""

    grants: Sequence[AvailableGrant]
    used_until: Sequence[tuple[datetime, PeriodUsage]] = ()


class PricedInvoice(NamedTuple):
    """Lines and subtotal in the plan's pricing unit, `due` and `total` in `unit`: the same, or the
    currency after a conversion. Only `total` is rounded."""

    lines: tuple[ProductLine, ...]
    subtotal: Decimal
    total: Decimal
    unit: CreditType
    due: Decimal
    adjustments: tuple[InvoiceAdjustment, ...] = ()  # those in the currency after the conversion
    conversion: Conversion | None = None


def price_invoice(plan: Plan, quantities: Mapping[UUID, Decimal]) -> PricedInvoice:
    """Price a whole period without trial and credits. `quantities`: billable metric id -> metered
    value; absent is 0."""
    return settle(plan, price_lines(plan, PeriodUsage(quantities)))


def price_period(
    plan: Plan,
    usage: PeriodUsage,
    billed: BilledPeriod,
    trial: TrialTerms | None = None,
    available: Credits | None = None,
) -> PricedInvoice:
    """Price one period. `plan`: as it is in this period (`terms`); `trial`: given where the period
    is one."""
    assert billed.trial is (trial is not None), "a trial has terms, and nothing else has"
    share = Share(billed.days_held, billed.days_whole, billed.number)
    charges = price_charges(plan, usage, share)
    lines = product_lines(plan, charges)
    if available is None or not available.grants:
        return settle(plan, lines, trial)
    whole = WholePeriod(usage, charges)
    so_far = [
        (at, product_lines(plan, price_charges(plan, used, share, whole)))
        for at, used in available.used_until
    ]
    pieces = pieces_of(billed.held, lines, so_far)
    subtotal = sum_of(line.total for line in lines)
    covered = ZERO if trial is None else trial_discount(subtotal, trial)
    deductions = apply_credits(pieces, available.grants, plan.unit.id, covered)
    return settle(plan, lines, trial, [credit_adjustment(each) for each in deductions])


def settle(
    plan: Plan,
    lines: tuple[ProductLine, ...],
    trial: TrialTerms | None = None,
    credited: Sequence[InvoiceAdjustment] = (),
) -> PricedInvoice:
    """From the lines to the total: steps 6 to 11."""
    unit = plan.unit
    subtotal = sum_of([line.total for line in lines])
    if trial is None and not plan.minimums and not plan.overage_rates and not credited:
        return PricedInvoice(lines, subtotal, round_total(subtotal, unit), unit, subtotal)
    adjustments: list[InvoiceAdjustment] = []
    spend = subtotal
    if trial is not None:
        discount = trial_discount(subtotal, trial)
        adjustments.append(trial_adjustment(discount, unit))
        spend = subtract(subtotal, discount)
    else:
        adjustments += minimum_adjustments(plan.minimums, unit, spend)
        # What the unit's minimum adds is billed already: the currency's does not add it again.
        spend = add(spend, total_of(adjustments, unit))
    adjustments += credited
    due = add(subtotal, total_of(adjustments, unit))
    rate = rate_of(plan.overage_rates, unit)
    if rate is None:
        total = round_total(due, unit)
        return PricedInvoice(lines, subtotal, total, unit, due, tuple(adjustments))
    conversion = converted(due, rate)
    if trial is None:
        spend_converted = multiply(spend, rate.to_fiat_conversion_factor)
        adjustments += minimum_adjustments(plan.minimums, rate.fiat, spend_converted)
    due = add(conversion.amount, total_of(adjustments, rate.fiat))
    total = round_total(due, rate.fiat)
    return PricedInvoice(lines, subtotal, total, rate.fiat, due, tuple(adjustments), conversion)
