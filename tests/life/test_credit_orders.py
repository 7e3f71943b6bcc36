"""Granting, editing and voiding grants between everything else that happens to invoices, in any
order, several projectors at once. In the end the oracle finds the same invoices; and at no time do
final ones change or use more of a grant than it gave.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.projector.drafts_postgres import PostgresDrafts
from services.projector.pricer import Pricer
from tests.life.granting import (
    DAY,
    FOREVER,
    GRANTING,
    another_plan,
    change_grant,
    differences,
    grant,
    overspent,
    taken,
)
from tests.life.orders import Order, Play, play_orders
from tests.life.world import DECEMBER, HOUR, PARTITIONS

SEEDS = 15
STEPS = 60
CUSTOMERS = ("acme", "bolt")
BEGIN = DECEMBER - 40 * HOUR
STARTS = DECEMBER - 12 * DAY


@dataclass
class Credits(Order):
    """Of grants to two customers."""

    customers: dict[str, str] = field(default_factory=dict)  # by alias
    grants: list[tuple[str, UUID]] = field(default_factory=list)
    paid: int = 0  # how often a grant has paid in the end

    async def go(self) -> None:
        """All of it."""
        self.world.now = BEGIN
        for name in CUSTOMERS:
            self.customers[name], _ = await self.world.customer(name, STARTS)
            fields = {"credit_grants": [{**GRANTING, "recurrence_interval": 1}]}
            await another_plan(
                self.world, self.customers[name], STARTS, billing_frequency="WEEKLY", **fields
            )
            await self.grant()
        self.pricers = [
            self.world.pricer,
            Pricer(PostgresDrafts(self.world.pool), lambda: self.world.now),
        ]
        self.finalizers = [self.world.finalizer, self.world.another_finalizer()]
        steps = {
            self.use: 6,
            self.count: 4,
            self.price: 3,
            self.together: 4,
            self.wait: 4,
            self.grant: 1,
            self.edit: 1,
            self.void: 1,
            self.regenerate: 2,
        }
        await self.take_any(steps, STEPS)
        await self.settle()
        assert await differences(self.world, self.counted) == []
        self.paid = sum([len(await taken(self.world, each)) for each in self.customers.values()])

    async def use(self) -> None:
        """An event of some time around the turn of the month."""
        at = DECEMBER + timedelta(minutes=self.random.randint(-9_000, 4_000))
        name = self.random.choice(CUSTOMERS)
        self.world.use(name, self.random.randint(1, 60), at, self.random.randrange(PARTITIONS))

    async def price(self) -> None:
        """Some of it."""
        await self.random.choice(self.pricers).price_stale()

    async def together(self) -> None:
        """Both projectors do everything at the same time."""
        await asyncio.gather(
            self.count(),
            *(each.price_stale() for each in self.pricers * 2),
            *(each.finalize_due() for each in self.finalizers),
            *(each.compare_late() for each in self.finalizers),
        )

    async def wait(self) -> None:
        """Some hours, and what comes with them."""
        self.world.now += self.random.randint(1, 12) * HOUR
        await self.world.drafts.open_periods(self.world.now)

    async def grant(self) -> None:
        """To anybody, of any time."""
        customer = self.random.choice(list(self.customers.values()))
        begins = DECEMBER + self.random.randint(-150, 20) * HOUR
        ends = self.random.choice([FOREVER, begins + self.random.randint(1, 150) * HOUR])
        made = await grant(
            self.world,
            customer,
            self.random.randint(1, 150),
            effective_at=begins,
            expires_at=ends,
            priority=self.random.randint(1, 2),
        )
        self.grants.append((customer, made))

    async def edit(self) -> None:
        """Any grant expires elsewhere, or is void."""
        customer, made = self.random.choice(self.grants)
        assignment = self.random.choice(
            ["voided_at = now()", "expires_at = effective_at + interval '30 hours'"]
        )
        await change_grant(self.world, customer, made, assignment)

    async def void(self) -> None:
        """Any final invoice."""
        if self.final:
            chosen = self.random.choice(sorted(self.final, key=str))
            await self.world.api.http.post("/v1/invoices/void", json={"id": str(chosen)})

    async def regenerate(self) -> None:
        """Any invoice that was final once; it need not be void."""
        if self.final:
            chosen = self.random.choice(sorted(self.final, key=str))
            await self.world.api.http.post("/v1/invoices/regenerate", json={"id": str(chosen)})

    async def check(self) -> None:
        """What holds at any time."""
        rows: list[Any] = await self.world.pool.fetch(
            "SELECT id, document::text AS document FROM invoice WHERE issued_at IS NOT NULL"
        )
        for row in rows:
            kept = self.final.setdefault(row["id"], row["document"])
            assert kept == row["document"], "what was final has changed"
        assert await overspent(self.world) == []


def test_any_order_spends_each_credit_once(play: Play) -> None:
    orders = play_orders(play, Credits, SEEDS)
    # The orders were worth something.
    assert sum(len(each.final) for each in orders) > 2 * SEEDS
    assert sum(each.paid for each in orders) > 3 * SEEDS
