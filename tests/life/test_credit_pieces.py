"""Credits that begin or expire inside a period, in the life of its invoice: with prices by volume,
by group, percentages and minimums, and usage that only grows, no total is below zero.
"""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from tests.life.conftest import Scenario
from tests.life.granting import DAY, differences, grant, paid
from tests.life.world import GRACE, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]

MONDAY = NOVEMBER + 8 * DAY
EXPIRES = MONDAY + 3 * DAY
NEXT_MONDAY = MONDAY + 7 * DAY
BY_VOLUME = [{"tier": 0, "value": 10}, {"tier": 10, "value": 5}]


async def _plan(world: World, *charges: dict[str, Any]) -> None:
    """The world's plan is a weekly one of these charges of API."""
    named = [
        {"name": f"charge {place}", "product_name": "API", **each}
        for place, each in enumerate(charges)
    ]
    world.plan = await world.api.make_plan("", charges=named, billing_frequency="WEEKLY")


def _usage(world: World, **fields: object) -> dict[str, Any]:
    metered = {"billable_metric_id": str(world.metric), "prices": BY_VOLUME}
    return {**metered, "tiering": "VOLUME", **fields}


async def _week(world: World, customer: str) -> tuple[object, object, object]:
    """Subtotal, credits, total."""
    invoice = await world.invoice(customer, MONDAY)
    return invoice["subtotal"], paid(invoice), invoice["total"]


def test_by_volume_a_draft_follows_the_tier_and_the_final_invoice_is_not_below_zero(
    play: Play,
) -> None:
    """A grant up to Thursday pays for 9: at 10 while there are no more, and at 5 once Friday's 2
    take the week to the second tier."""

    async def scenario(world: World) -> None:
        await _plan(world, _usage(world))
        customer, _ = await world.customer("acme")
        await grant(world, customer, 1000, expires_at=EXPIRES)
        world.now = MONDAY + 5 * DAY
        world.use("acme", 9, MONDAY + DAY)
        counted = await world.count()
        await world.settle()
        assert await _week(world, customer) == (90, {"gift": 90}, 0)
        world.use("acme", 2, MONDAY + 4 * DAY)
        counted += await world.count()
        await world.settle()
        assert await _week(world, customer) == (55, {"gift": 45}, 10)
        world.now = NEXT_MONDAY + GRACE + HOUR
        await world.settle()
        invoice = await world.invoice(customer, MONDAY)
        assert (invoice["status"], invoice["total"]) == ("FINALIZED", 10)
        assert await differences(world, counted) == []

    play(scenario)


def test_a_draft_after_it_has_the_credits_that_it_gives_back(play: Play) -> None:
    """90 of 100 were taken by the first week while it was small, 45 in the end."""

    async def scenario(world: World) -> None:
        await _plan(world, _usage(world))
        customer, _ = await world.customer("acme")
        await grant(world, customer, 100)
        await grant(world, customer, 1, "small", expires_at=EXPIRES, priority=2)
        world.now = NEXT_MONDAY + HOUR
        world.use("acme", 9, MONDAY + DAY)
        world.use("acme", 9, NEXT_MONDAY)
        counted = await world.count()
        await world.settle()
        later = await world.invoice(customer, NEXT_MONDAY)
        assert (paid(later), later["total"]) == ({"gift": 10}, 80)
        world.use("acme", 2, MONDAY + 4 * DAY)
        counted += await world.count()
        await world.settle()
        assert await _week(world, customer) == (55, {"gift": 55}, 0)
        later = await world.invoice(customer, NEXT_MONDAY)
        assert (paid(later), later["total"]) == ({"gift": 45}, 45)
        assert await differences(world, counted) == []

    play(scenario)


def test_groups_percentages_and_minimums_at_a_cut(play: Play) -> None:
    """Up to the cut: 9 of e at 5, 4 of u at 10, and of these 85 a tenth, because the week spends
    125. To the minimum of 200 lack 75 in the end, when no grant holds."""

    async def scenario(world: World) -> None:
        regions = {"aggregation_key": "n", "group_keys": [["region"]]}
        world.metric = UUID(await world.api.make_metric("SUM", **regions))
        share = {"charge_type": "COMPOSITE", "tiering": "VOLUME"}
        fractions = [{"tier": 0, "value": 0.5}, {"tier": 100, "value": 0.1}]
        minimum = {"charge_type": "MINIMUM", "prices": [{"tier": 0, "value": 200}]}
        await _plan(
            world,
            _usage(world, group_key=["region"]),
            {**share, "prices": fractions, "product_name": "support"},
            minimum,
        )
        customer, _ = await world.customer("acme")
        await grant(world, customer, 1000, expires_at=EXPIRES)
        world.now = MONDAY + 5 * DAY
        for region, amount, at in _regions():
            world.use("acme", amount, at, group=region)
        counted = await world.count()
        await world.settle()
        expected = (Decimal("212.5"), {"gift": Decimal("93.5")}, 119)
        assert await _week(world, customer) == expected
        world.now = NEXT_MONDAY + GRACE + HOUR
        await world.settle()
        assert (await world.invoice(customer, MONDAY))["status"] == "FINALIZED"
        assert await _week(world, customer) == expected
        assert await differences(world, counted) == []

    play(scenario)


def _regions() -> list[tuple[str, int, datetime]]:
    """Group values of one letter; e reaches the second tier after the cut, u does not."""
    return [
        ("e", 9, MONDAY + DAY),
        ("u", 4, MONDAY + DAY),
        ("e", 2, MONDAY + 4 * DAY),
        ("u", 3, MONDAY + 4 * DAY),
    ]
