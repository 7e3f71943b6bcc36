"""Credits that plans grant: made when periods open, once, by whichever projector; and what becomes
of them when a plan ends.
"""

import asyncio
from collections.abc import Callable

from services.projector.drafts_postgres import PostgresDrafts
from services.projector.pricer import Pricer
from tests.life.conftest import Scenario
from tests.life.granting import DAY, GRANTING, another_plan, differences, grant, paid
from tests.life.world import DECEMBER, DUE, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]


def test_a_plan_grants_when_its_periods_open(play: Play) -> None:
    async def scenario(world: World) -> None:
        world.plan = await world.api.make_plan(
            str(world.metric), credit_grants=[{**GRANTING, "recurrence_interval": 1}]
        )
        customer, customer_plan = await world.customer("acme")
        world.use("acme", 70, NOVEMBER)
        counted = await world.count()
        await world.settle()
        invoice = await world.invoice(customer)
        assert (paid(invoice), invoice["total"]) == ({"allowance": 50}, 20)
        world.now = DECEMBER + HOUR
        world.use("acme", 20, DECEMBER)
        counted += await world.count()
        others = [Pricer(PostgresDrafts(world.pool), lambda: world.now) for _ in range(3)]
        await world.drafts.open_periods(world.now)
        await asyncio.gather(*(each.price_stale() for each in others))
        await world.settle()
        assert paid(await world.invoice(customer, DECEMBER)) == {"allowance": 20}
        assert paid(await world.invoice(customer)) == {"allowance": 50}
        assert await differences(world, counted) == []
        made = await world.pool.fetch("SELECT * FROM credit_grant ORDER BY effective_at")
        assert [row["effective_at"] for row in made] == [NOVEMBER, DECEMBER]
        assert made[0]["expires_at"] == DECEMBER
        assert (made[0]["paid_amount"], made[0]["reason"]) == (9, "every month")

        # Ended before December, it never granted what came with December; November's is kept.
        await world.api.post(
            f"/v1/customers/{customer}/plans/{customer_plan}/end",
            {"ending_before": (DECEMBER - DAY).isoformat()},
        )
        await another_plan(world, customer)
        await world.settle()
        shares = {each["end_timestamp"]: paid(each) for each in await world.invoices(customer)}
        assert [shares[end] for end in sorted(shares)] == [{"allowance": 50}, {}, {}]
        # And granted it, when it was not ended after all.
        await world.api.post(
            f"/v1/customers/{customer}/plans/{customer_plan}/end", {"void_invoices": True}
        )
        await world.settle()
        [first, _] = await world.invoices(customer, starting_on=DECEMBER.isoformat())
        assert paid(first) == {"allowance": 20}

    play(scenario)


def test_what_a_plan_had_granted_before_is_made_good(play: Play) -> None:
    """A database of before there were grants: they are made when the next period opens, and drafts
    of periods that are still open are priced with them."""

    async def scenario(world: World) -> None:
        world.plan = await world.api.make_plan(
            str(world.metric), credit_grants=[{**GRANTING, "effective_duration": 2}]
        )
        customer, _ = await world.customer("acme")
        await world.pool.execute("DELETE FROM credit_grant")
        world.use("acme", 30, NOVEMBER)
        await world.count()
        await world.price()
        assert paid(await world.invoice(customer)) == {}
        world.now = DECEMBER + HOUR
        world.use("acme", 30, DECEMBER)
        await world.count()
        await world.settle()
        assert paid(await world.invoice(customer)) == {"allowance": 30}
        assert paid(await world.invoice(customer, DECEMBER)) == {"allowance": 20}

    play(scenario)


def test_a_plan_that_ends_earlier_gives_back_what_its_void_invoices_took(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        body = {
            "plan_id": world.plan,
            "starting_on": NOVEMBER.isoformat(),
            "ending_before": (NOVEMBER + 14 * DAY).isoformat(),
        }
        reply = await world.api.post(f"/v1/customers/{customer}/plans/add", body)
        await grant(world, customer, 100)
        world.use("acme", 100, NOVEMBER)
        world.now = DUE + HOUR
        world.use("acme", 60, DECEMBER)
        await world.settle()
        assert paid(await world.invoice(customer, DECEMBER)) == {}
        await world.api.post(
            f"/v1/customers/{customer}/plans/{reply['data']['id']}/end",
            {"ending_before": (NOVEMBER + 10 * DAY).isoformat(), "void_invoices": True},
        )
        await world.settle()
        assert paid(await world.invoice(customer, DECEMBER)) == {"gift": 60}

    play(scenario)
