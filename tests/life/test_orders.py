"""Using, counting, pricing, finalizing, voiding and regenerating in any order, the time moving on
in between. Event number n is worth 2^n, so a total names the events that are in it.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import Any

from tests.life.orders import Order, Play, play_orders
from tests.life.world import DECEMBER, GRACE, PARTITIONS, Used

SEEDS = 20
STEPS = 90
CUSTOMERS = ("acme", "bolt")
BEGIN = DECEMBER - timedelta(hours=6)

_INVOICES = """
SELECT i.id, c.name, i.customer_plan_id, i.status, i.starts_at, i.ends_at, i.issued_at,
    i.document::text AS document, (i.document ->> 'total')::numeric::bigint AS total,
    i.regenerated_from_invoice_id, (l.document ->> 'total')::numeric::bigint AS late
FROM invoice i JOIN customer c ON c.id = i.customer_id
LEFT JOIN late_usage l ON l.invoice_id = i.id
"""


@dataclass
class Life(Order):
    """Of the invoices of two customers."""

    used: list[Used] = field(default_factory=list)
    late: int = 0  # invoices with late usage in the end

    async def go(self) -> None:
        """All of it."""
        self.world.now = BEGIN
        for name in CUSTOMERS:
            await self.world.customer(name)
        self.others = [self.world.finalizer, self.world.another_finalizer()]
        steps = {
            self.use: 6,
            self.count: 4,
            self.world.price: 3,
            self.finalize: 3,
            self.compare: 2,
            self.together: 3,
            self.wait: 4,
            self.void: 2,
            self.regenerate: 2,
        }
        await self.take_any(steps, STEPS)
        await self.settle()
        await self.check_settled()

    async def use(self) -> None:
        """An event of some time, mostly late November."""
        at = DECEMBER + timedelta(hours=self.random.randint(-100, 40))
        amount = 2 ** len(self.used)
        partition = self.random.randrange(PARTITIONS)
        self.world.use(self.random.choice(CUSTOMERS), amount, at, partition)
        self.used.append(self.world.waiting[partition][-1])

    async def finalize(self) -> None:
        """By either projector."""
        await self.random.choice(self.others).finalize_due()

    async def compare(self) -> None:
        """Late usage, by either."""
        await self.random.choice(self.others).compare_late()

    async def together(self) -> None:
        """Both projectors do everything at the same time."""
        counts = asyncio.create_task(self.count())
        await asyncio.gather(
            counts,
            self.world.price(),
            *(each.finalize_due() for each in self.others),
            *(each.compare_late() for each in self.others),
        )

    async def wait(self) -> None:
        """Some hours."""
        self.world.now += timedelta(hours=self.random.randint(1, 12))

    async def void(self) -> None:
        """Any final one."""
        rows = await self.rows()
        final = [row["id"] for row in rows if row["status"] == "FINALIZED"]
        if final:
            body = {"id": str(self.random.choice(final))}
            await self.world.api.post("/v1/invoices/void", body)

    async def regenerate(self) -> None:
        """Any void one that was not yet."""
        rows = await self.rows()
        made = {row["regenerated_from_invoice_id"] for row in rows}
        void = [r["id"] for r in rows if r["status"] == "VOID" and r["id"] not in made]
        if void:
            body = {"id": str(self.random.choice(void))}
            await self.world.api.post("/v1/invoices/regenerate", body)

    async def rows(self) -> list[Any]:
        """Every invoice."""
        return list(await self.world.pool.fetch(_INVOICES + " ORDER BY i.starts_at, i.id"))

    async def check(self) -> None:
        """No second invoice of a period, and what is final stays."""
        rows = await self.rows()
        live = [(r["customer_plan_id"], r["starts_at"]) for r in rows if r["status"] != "VOID"]
        assert len(live) == len(set(live)), "two invoices of one period"
        for row in rows:
            if row["id"] in self.final:
                assert row["status"] != "DRAFT"
                assert row["document"] == self.final[row["id"]], "what was final has changed"
            elif row["status"] == "FINALIZED":
                self.final[row["id"]] = row["document"]
                self.check_final(row)
            else:
                assert row["status"] == "DRAFT", "void and never final"

    def check_final(self, row: Any) -> None:
        """What has just become final."""
        due_at = row["ends_at"] + GRACE
        assert row["issued_at"] == self.world.now >= due_at
        of_period = self.of(row, self.used)
        in_time = mask(each for each in of_period if each.accepted_at < due_at)
        assert row["total"] & in_time == in_time, "lag has hidden usage"
        counted = mask(self.of(row, self.counted))
        assert row["total"] & ~counted == 0, "usage that is not counted"
        known = mask(self.of(row, self.counted[: self.known]))
        assert known & ~row["total"] == 0, "usage that was counted is not in it"

    async def check_settled(self) -> None:
        """With everything counted, priced and compared."""
        assert len(self.counted) == len(self.used)
        for row in await self.rows():
            now = mask(self.of(row, self.used))
            if row["status"] == "DRAFT":
                assert row["total"] == now
            elif row["status"] == "FINALIZED":
                assert row["late"] == (None if row["total"] == now else now)
                self.late += row["late"] is not None

    def of(self, row: Any, events: list[Used]) -> list[Used]:
        """Those of an invoice's customer and period."""
        start, end = row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC)
        return [e for e in events if e.reference == row["name"] and start <= e.at < end]


def mask(events: Any) -> int:
    """The events as a number."""
    return sum(each.amount for each in events)


def test_any_order_keeps_final_invoices_and_loses_no_usage(play: Play) -> None:
    orders = play_orders(play, Life, SEEDS)
    # The orders were worth something.
    assert sum(len(each.final) for each in orders) > 2 * SEEDS
    assert sum(each.late for each in orders) > SEEDS / 4
