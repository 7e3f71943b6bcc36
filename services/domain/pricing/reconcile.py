"""Whether the amounts of an invoice add up to the last digit: shown tiers to charges, charges to
lines, lines and adjustments to what is due, and that, rounded, to the total. Looks only.

A tier is its quantity times its price, unless it is prorated: its quantity is then rounded for
display, and its amount is its part of a running sum (`proration`).
"""

from collections.abc import Iterator

from services.domain.money import round_total
from services.domain.number import add, multiply
from services.domain.plan import ChargeType, Plan
from services.domain.pricing.charge import ChargeLine, price_fixed, sum_of
from services.domain.pricing.invoice import PricedInvoice
from services.domain.pricing.lines import WHOLE, Share
from services.domain.pricing.proration import prorated
from services.domain.pricing.whole import total_of


def reconcile(plan: Plan, invoice: PricedInvoice, share: Share = WHOLE) -> list[str]:
    """Everything that does not add up; empty for a sound invoice. `plan`: as it is in the period;
    `share`: how much of the period it holds."""
    whole = [price_fixed(each) for each in plan.charges if each.charge_type is ChargeType.FIXED]
    part = share.days_held != share.days_whole
    fixed = prorated(whole, share.days_held, share.days_whole) if part else ()
    shares = {line.charge.id: line for line in fixed}
    faults = [
        fault
        for line in invoice.lines
        for charge in line.charges
        for fault in _of(charge, shares.get(charge.charge.id))
    ]
    for line in invoice.lines:
        if line.total != sum_of(charge.subtotal for charge in line.charges):
            faults.append(f"line {line.product_name!r} is not the sum of its charges")
    if invoice.subtotal != sum_of(line.total for line in invoice.lines):
        faults.append("the subtotal is not the sum of the lines")
    due = add(invoice.subtotal, total_of(invoice.adjustments, plan.unit))
    conversion = invoice.conversion
    if conversion is not None:
        if conversion.quantity != due:
            faults.append("what is converted is not what is due in the pricing unit")
        due = multiply(conversion.quantity, conversion.factor)
        if conversion.amount != due:
            faults.append("the conversion is not its quantity times its factor")
        due = add(due, total_of(invoice.adjustments, conversion.unit))
    if invoice.due != due:
        faults.append("what is due is not the subtotal with its adjustments")
    if invoice.total != round_total(due, invoice.unit):
        faults.append("the total is not what is due, rounded")
    return faults


def _of(charge: ChargeLine, share: ChargeLine | None) -> Iterator[str]:
    """What is wrong with one charge. `share`: what it should be, if it is prorated."""
    name = charge.charge.name
    if charge.quantity != sum_of(tier.quantity for tier in charge.tiers):
        yield f"the quantity of charge {name!r} is not the sum of its tiers"
    if charge.subtotal != sum_of(tier.subtotal for tier in charge.tiers):
        yield f"charge {name!r} is not the sum of its tiers"
    if share is not None:
        if charge.tiers != share.tiers:
            yield f"the tiers of charge {name!r} are not its share of the days"
        return
    for tier in charge.tiers:
        if tier.subtotal != multiply(tier.quantity, tier.price):
            yield f"a tier of charge {name!r} is not its quantity times its price"
