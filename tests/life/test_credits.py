"""Credits in the life of drafts: what each takes, in which order, once; and what becomes of it when
another one changes.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from services.projector import credits_postgres, drafts_postgres
from services.projector.drafts import DraftBatch
from services.projector.drafts_postgres import PostgresDrafts
from services.projector.pricer import Pricer
from tests.life.conftest import Scenario
from tests.life.granting import (
    DAY,
    another_plan,
    change_grant,
    differences,
    grant,
    paid,
    taken,
)
from tests.life.world import DECEMBER, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]


def test_a_grant_pays_and_shows_what_it_paid(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        made = await grant(world, customer, 100)
        world.use("acme", 70, NOVEMBER)
        await world.settle()
        invoice = await world.invoice(customer)
        assert (invoice["subtotal"], invoice["total"]) == (70, 0)
        assert invoice["invoice_adjustments"] == [
            {
                "name": "gift",
                "total": -70,
                "credit_grant_id": str(made),
                "credit_type": invoice["credit_type"],
            }
        ]
        world.use("acme", 50, NOVEMBER)
        await world.settle()
        invoice = await world.invoice(customer)
        assert (paid(invoice), invoice["total"]) == ({"gift": 100}, 20)
        # Another customer has none.
        other, _ = await world.customer("bolt")
        world.use("bolt", 5, NOVEMBER)
        await world.settle()
        assert (await world.invoice(other))["total"] == 5
        await change_grant(world, customer, made, "voided_at = now()")
        await world.settle()
        invoice = await world.invoice(customer)
        assert (invoice["invoice_adjustments"], invoice["total"]) == ([], 120)

    play(scenario)


async def _chain(world: World) -> None:
    """A later draft is priced first, then again and again as the earlier one takes more."""
    customer, _ = await world.customer("acme")
    world.now = DECEMBER + HOUR
    await grant(world, customer, 100)
    await world.settle()
    world.use("acme", 50, DECEMBER)
    await world.settle()
    assert paid(await world.invoice(customer, DECEMBER)) == {"gift": 50}
    for amount, left in ((70, 30), (20, 10), (30, 0)):
        world.use("acme", amount, NOVEMBER)
        await world.count()
        await world.price()
        later = paid(await world.invoice(customer, DECEMBER))
        assert later == ({"gift": left} if left else {})
    assert paid(await world.invoice(customer)) == {"gift": 100}


def test_a_draft_follows_what_the_ones_before_it_take(play: Play) -> None:
    play(_chain)


def test_without_marks_of_later_drafts_a_credit_would_be_spent_twice(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test before."""

    async def nobody(*_: object) -> None:
        pass

    monkeypatch.setattr(drafts_postgres, "mark_later", nobody)
    with pytest.raises(AssertionError, match="gift"):
        play(_chain)


def test_marking_comes_to_an_end(play: Play) -> None:
    """A draft whose share stays the same marks nothing, and of a chain each is priced once more."""

    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        await another_plan(world, customer, NOVEMBER + 29 * DAY, billing_frequency="WEEKLY")
        world.now = DECEMBER + HOUR
        await grant(world, customer, 1_000)
        for at in (NOVEMBER, NOVEMBER + 29 * DAY, DECEMBER):
            world.use("acme", 100, at)
        counted = await world.count()
        await world.settle()
        # November, the week around its end, December; and the grant is not used up.
        assert [int(each.amount) for each in await taken(world, customer)] == [200, 200, 100]
        world.use("acme", 5, NOVEMBER)
        counted += await world.count()
        passes = []
        while found := await world.pricer.price_stale():
            passes.append(found)
        assert passes == [1, 1]
        assert [int(each.amount) for each in await taken(world, customer)] == [205, 200, 100]
        assert await differences(world, counted) == []

    play(scenario)


class PausedDrafts(PostgresDrafts):
    """Stops before the commit."""

    def __init__(self, world: World) -> None:
        super().__init__(world.pool)
        self.reached, self.go = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def take(
        self, count_max: int, now: datetime, *, alone: bool = False
    ) -> AsyncIterator[DraftBatch | None]:
        """See Drafts."""
        async with super().take(count_max, now, alone=alone) as batch:
            yield batch
            self.reached.set()
            await self.go.wait()


async def _opened_meanwhile(world: World) -> None:
    """December's draft is being opened and priced, so that nobody else sees it yet, when usage
    comes for November's."""
    customer, _ = await world.customer("acme")
    await grant(world, customer, 100)
    world.use("acme", 10, NOVEMBER)
    world.now = DECEMBER + HOUR
    await world.count()
    await world.price()
    world.use("acme", 100, DECEMBER)
    await world.count()
    await world.drafts.open_periods(world.now)
    paused = PausedDrafts(world)
    opening = asyncio.create_task(Pricer(paused, lambda: world.now).price_stale())
    await paused.reached.wait()
    world.use("acme", 60, NOVEMBER)
    await world.count()
    pricing = asyncio.create_task(world.pricer.price_stale())
    await asyncio.wait([pricing], timeout=0.3)
    paused.go.set()
    await asyncio.gather(opening, pricing)
    await world.price()
    shares = [paid(await world.invoice(customer, start)) for start in (NOVEMBER, DECEMBER)]
    assert shares == [{"gift": 70}, {"gift": 30}]


def test_two_that_price_at_once_do_not_spend_a_credit_twice(play: Play) -> None:
    play(_opened_meanwhile)


def test_without_the_lock_of_grants_they_would(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of the test before."""
    monkeypatch.setattr(credits_postgres, "_LOCK_GRANTS", credits_postgres._READ_GRANTS)
    with pytest.raises(AssertionError, match="gift"):
        play(_opened_meanwhile)


def test_many_at_once_neither_deadlock_nor_overspend(play: Play) -> None:
    async def scenario(world: World) -> None:
        names = ["acme", "bolt", "crux"]
        customers = [(await world.customer(name))[0] for name in names]
        for customer in customers:
            await another_plan(world, customer, billing_frequency="WEEKLY")
            for priority in (3, 1, 2):
                await grant(world, customer, 40, f"gift {priority}", priority=priority)
        world.now = DECEMBER - HOUR
        await world.settle()
        counted = []
        for hour in range(30):
            for name in names:
                world.use(name, 1 + hour % 3, NOVEMBER + hour * DAY)
                await asyncio.gather(*(world.pricer.price_stale() for _ in range(3)))
            counted += await world.count()
        await world.price()
        for customer in customers:
            assert sum(each.amount for each in await taken(world, customer)) <= 120
        assert await differences(world, counted) == []

    play(scenario)


async def running_on(world: World, tiers: list[dict[str, int]]) -> str:
    """A plan whose tiers run on over two months."""
    charge = {
        "name": "calls",
        "product_name": "API",
        "billable_metric_id": str(world.metric),
        "prices": tiers,
        "tier_reset_frequency": 2,
    }
    return await world.api.make_plan(str(world.metric), charges=[charge])


def test_usage_is_paid_for_while_the_grant_holds(play: Play) -> None:
    """From the 11th to the 21st, by hours; tiers run through."""

    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        tiers = [{"tier": 0, "value": 10}, {"tier": 100, "value": 1}]
        world.plan = await world.api.make_plan(
            str(world.metric), *((each["tier"], each["value"]) for each in tiers)
        )
        tiered, _ = await world.customer("bolt")
        world.plan = await running_on(world, tiers)
        windowed, _ = await world.customer("crux", NOVEMBER - 31 * DAY)
        world.use("crux", 60, NOVEMBER - DAY)
        begins, ends = NOVEMBER + 10 * DAY + HOUR, NOVEMBER + 20 * DAY
        for each in (customer, tiered, windowed):
            await grant(world, each, 10_000, effective_at=begins, expires_at=ends)
        for name in ("acme", "bolt", "crux"):
            world.use(name, 90, begins - HOUR / 2)
            world.use(name, 30, begins)
            world.use(name, 7, ends - HOUR / 2)
            world.use(name, 5, ends)
        counted = await world.count()
        world.now = NOVEMBER + 25 * DAY
        await world.settle()
        invoice = await world.invoice(customer)
        assert (paid(invoice), invoice["total"]) == ({"gift": 37}, 95)
        assert paid(await world.invoice(tiered)) == {"gift": 10 * 10 + 20 + 7}
        assert paid(await world.invoice(windowed)) == {"gift": 30 + 7}
        assert await differences(world, counted) == []

    play(scenario)
