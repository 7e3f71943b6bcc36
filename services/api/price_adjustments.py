"""Price adjustments of a customer's plan, as they were given with it. Read only."""

from typing import NotRequired
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.context import Parts
from services.api.customer_plan_rows import fetch_customer_plan
from services.api.paging import PAGE_MAX, Limit, NextPage, decode_cursor, split_page
from services.api.replies import Number, Page, page
from services.api.request import ExactRoute
from services.domain.number import plain
from services.domain.plan import ChargeType
from services.domain.pricing.adjustment import AdjustmentType, PriceAdjustment
from services.runtime.customer_terms import adjustments_of
from services.runtime.plan_rows import PlanShelf

router = APIRouter(tags=["Plans"], route_class=ExactRoute)


class AdjustedPrice(TypedDict):
    """One change; without `tier` of every tier."""

    adjustment_type: AdjustmentType
    tier: NotRequired[Number]
    value: NotRequired[Number]
    quantity: NotRequired[Number]


class ChargeAdjustments(TypedDict):
    """The changes to one charge that begin together."""

    charge_id: UUID
    charge_type: ChargeType
    prices: list[AdjustedPrice]
    start_period: int
    quantity: NotRequired[Number]


@router.get(
    "/v1/customers/{customer_id}/plans/{customer_plan_id}/priceAdjustments",
    responses={200: {"model": Page[ChargeAdjustments]}},
)
async def list_price_adjustments(
    customer_id: UUID,
    customer_plan_id: UUID,
    parts: Parts,
    limit: Limit = PAGE_MAX,
    next_page: NextPage = None,
) -> Response:
    """List the price adjustments of a customer's plan, by charge and by when they begin."""
    place = decode_cursor(next_page, int)
    async with parts.reading() as connection:
        row = await fetch_customer_plan(connection, customer_id, customer_plan_id)
        plans = await PlanShelf().get(connection, [row["plan_id"]])
    kinds = {charge.id: charge.charge_type for charge in plans[row["plan_id"]].charges}
    together: dict[tuple[UUID, int], ChargeAdjustments] = {}
    for each in adjustments_of(row["price_adjustments"]):
        item = together.setdefault(
            (each.charge_id, each.start_period),
            ChargeAdjustments(
                charge_id=each.charge_id,
                charge_type=kinds[each.charge_id],
                prices=[],
                start_period=each.start_period,
            ),
        )
        item["prices"].append(_price(each))
        if each.adjustment_type is AdjustmentType.QUANTITY:
            item["quantity"] = plain(each.value)
    first = 0 if place is None else max(place[0], 0)
    every = list(enumerate(together.values(), 1))[first : first + limit + 1]
    shown, cursor = split_page(every, limit, lambda numbered: (numbered[0],))
    return page([item for _, item in shown], cursor)


def _price(adjustment: PriceAdjustment) -> AdjustedPrice:
    price = AdjustedPrice(adjustment_type=adjustment.adjustment_type)
    if adjustment.tier is not None:
        price["tier"] = plain(adjustment.tier)
    if adjustment.adjustment_type is AdjustmentType.QUANTITY:
        price["quantity"] = plain(adjustment.value)
    else:
        price["value"] = plain(adjustment.value)
    return price
