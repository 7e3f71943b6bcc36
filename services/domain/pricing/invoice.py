"""The order of arithmetic from metered quantities to an invoice's amounts. Pure and exact.

1. unit conversion of the metered quantity; 2. graduated tiers, each exact; 3. a charge is the sum
of its tiers; 4. a line is the sum of its product's charges; 5. the subtotal is the sum of the
lines; 6. the total is the subtotal, rounded once (`services.domain.money`).
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.domain.money import round_total
from services.domain.number import ZERO, add
from services.domain.plan import Charge, Plan
from services.domain.pricing.conversion import convert
from services.domain.pricing.tiers import TierLine, graduated


class ChargeLine(NamedTuple):
    """One charge of a product, with the tiers its quantity reached."""

    charge: Charge
    quantity: Decimal
    tiers: tuple[TierLine, ...]
    subtotal: Decimal


class ProductLine(NamedTuple):
    """One line of the invoice: a product with its charges."""

    product_id: UUID
    product_name: str
    charges: tuple[ChargeLine, ...]
    total: Decimal


class PricedInvoice(NamedTuple):
    """Lines and amounts in the plan's pricing unit; only `total` is rounded."""

    lines: tuple[ProductLine, ...]
    subtotal: Decimal
    total: Decimal


def price_invoice(plan: Plan, quantities: Mapping[UUID, Decimal]) -> PricedInvoice:
    """Price one period. `quantities`: billable metric id -> metered value; absent is 0."""
    by_product: dict[UUID, list[ChargeLine]] = {}
    for charge in plan.charges:
        line = _price_charge(charge, quantities.get(charge.metric_id, ZERO))
        by_product.setdefault(charge.product_id, []).append(line)
    lines = tuple(
        ProductLine(
            product_id,
            charges[0].charge.product_name,
            tuple(charges),
            _sum([line.subtotal for line in charges]),
        )
        for product_id, charges in by_product.items()
    )
    subtotal = _sum([line.total for line in lines])
    return PricedInvoice(lines, subtotal, round_total(subtotal, plan.unit))


def _price_charge(charge: Charge, metered: Decimal) -> ChargeLine:
    quantity = convert(metered, charge.unit_conversion)
    tiers = tuple(graduated(quantity, charge.tiers))
    return ChargeLine(charge, quantity, tiers, _sum([tier.subtotal for tier in tiers]))


def _sum(amounts: Sequence[Decimal]) -> Decimal:
    if len(amounts) == 1:
        return amounts[0]
    total = ZERO
    for amount in amounts:
        total = add(total, amount)
    return total
