"""What the documents of all invoices of a plan have in common, as text: only amounts and periods
differ from invoice to invoice, so the text between them is made once for a plan. That, not the
prices, was most of what a draft cost.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.number import text_of
from services.domain.plan import Charge, ChargeType, Plan
from services.runtime.json import encode_json

# Plans whose texts are kept; past it they are made anew. Customers with own prices have own plans.
PLANS_MAX = 2_000

_PRODUCT_TYPES = {
    ChargeType.FIXED: "FixedProductListItem",
    ChargeType.MINIMUM: "FixedProductListItem",
    ChargeType.COMPOSITE: "CompositeProductListItem",
}


class ChargeTexts(NamedTuple):
    """A charge, and the line that begins with it: what stands before the line's quantity and before
    its period, its price where it has one; before the charge's quantity and before its window, its
    price where it has one; and by where a tier starts, what stands before its quantity and its
    subtotal: the latter empty where the price differs from invoice to invoice, as a minimum's."""

    line_head: str
    line_middle: str
    unit_price: str
    head: str
    middle: str
    price: str
    tiers: Mapping[Decimal, tuple[str, str]]


Texts = Mapping[int, ChargeTexts]
"""By the identity of a charge."""

# By the identity of a plan, which is kept so that no other gets it.
_kept: dict[int, tuple[Plan, Texts]] = {}


def texts_of(plan: Plan) -> Texts:
    """The texts of a plan as it is in some periods; hand it plans that are kept (`PlanTerms`)."""
    found = _kept.get(id(plan))
    if found is None:
        if len(_kept) >= PLANS_MAX:
            _kept.clear()
        texts = {
            id(plan.charges[place]): _charge_texts(plan, plan.charges[place], places)
            for places, _ in plan.products
            for place in places
        }
        found = _kept[id(plan)] = plan, texts
    return found[1]


def _charge_texts(plan: Plan, charge: Charge, places: Sequence[int]) -> ChargeTexts:
    kinds = {
        _PRODUCT_TYPES.get(plan.charges[place].charge_type, "UsageProductListItem")
        for place in places
    }
    middle = {
        "credit_type": {"id": plan.unit.id, "name": plan.unit.name},
        "product_id": charge.product_id,
        "product_type": kinds.pop() if len(kinds) == 1 else "UsageProductListItem",
    }
    kept = charge.charge_type is not ChargeType.MINIMUM
    price = ""
    if len(charge.tiers) == 1 and kept:
        price = text_of(charge.tiers[0].price)
    return ChargeTexts(
        line_head=open_object({"name": charge.product_name, "type": "usage"}) + ',"quantity":',
        line_middle="," + open_object(middle)[1:] + ",",
        unit_price=price and f',"unit_price":{price}',
        head=open_object({"name": charge.name}) + ',"quantity":',
        middle=","
        + open_object({"charge_id": charge.id, "custom_fields": {}})[1:]
        + ',"tier_period":{',
        price=price and f',"price":{price}',
        # Exact: the quantity after which the price holds. Metronome's example shows the first whole
        # unit beyond it (1001 for 1000), which fractions have not.
        tiers={
            tier.starts_after: (
                f'{{"starting_at":{text_of(tier.starts_after)},"quantity":',
                f',"price":{text_of(tier.price)},"subtotal":' if kept else "",
            )
            for tier in charge.tiers
        },
    )


def open_object(members: Mapping[str, object]) -> str:
    """A JSON object whose end is to come."""
    return encode_json(members).decode()[:-1]


def number_text(number: Decimal) -> str:
    """As `text_of`; most numbers are in that form already."""
    text = str(number)
    if "E" in text or text == "-0" or ("." in text and text[-1] == "0"):
        return text_of(number)
    return text
