"""What the tests of invoices' lives do: use, count, price, finalize, and look. Every step is by
hand, so that any order of them can be had.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from services.domain.aggregate import Aggregate, AggregateKey, hour_of
from services.projector.drafts_postgres import PostgresDrafts
from services.projector.finalizer import Finalizer
from services.projector.finals_postgres import PostgresFinals
from services.projector.pricer import Pricer
from services.projector.projection import Advance, Flush, Position
from services.projector.projection_postgres import PostgresProjection
from services.replay.drafts_postgres import price_generation
from services.replay.generations import Source
from services.replay.generations_postgres import PostgresGenerations
from services.runtime.log import RAW
from services.runtime.log_memory import MemoryLog
from tests.api.conftest import Api

PARTITIONS = 3
GRACE = timedelta(hours=24)
NOVEMBER, DECEMBER = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
DUE = DECEMBER + GRACE
HOUR = timedelta(hours=1)
_EMPTY = """
TRUNCATE customer, plan, billable_metric, projection_position, usage_series, usage_hour,
    usage_month, usage_distinct, usage_distinct_month, stale_draft, late_mark CASCADE
"""
# As a replay that counted as many ranges.
_LEVEL = """
UPDATE projection_position n SET next_raw_offset = l.next_raw_offset,
    next_rated_offset = l.next_rated_offset, first_raw_offset = l.first_raw_offset,
    counted = l.counted
FROM projection_position l
WHERE n.generation = $1 AND l.generation = $2 AND l.partition = n.partition
"""


@dataclass
class Used:
    """One event."""

    reference: str
    at: datetime
    amount: int
    accepted_at: datetime
    partition: int
    group: tuple[str, ...] = ()


@dataclass
class World:
    """Everything between usage and invoice."""

    pool: asyncpg.Pool
    now: datetime = NOVEMBER + timedelta(days=9)
    log: MemoryLog = field(default_factory=MemoryLog)
    waiting: dict[int, list[Used]] = field(default_factory=dict)
    positions: dict[tuple[int, int], Position] = field(default_factory=dict)

    async def begin(self, api: Api) -> None:
        """Empty, with a metric and a plan of one cent a unit."""
        await self.pool.execute(_EMPTY)
        await self.pool.execute("UPDATE live_generation SET generation = 0")
        await self.pool.execute("UPDATE generation SET state = 'LIVE' WHERE id = 0")
        self.api = api
        self.metric = UUID(await api.make_metric("SUM", aggregation_key="n"))
        self.plan = await api.make_plan(str(self.metric))
        self.projection = PostgresProjection(self.pool)
        self.drafts = PostgresDrafts(self.pool)
        self.pricer = Pricer(self.drafts, lambda: self.now)
        self.finalizer = self.another_finalizer()

    async def promote_with(self, alias: str, amount: int) -> None:
        """A replay that found so much for November becomes live."""
        generations = PostgresGenerations(self.pool)
        live = await generations.live()
        generation = (await generations.create(Source.UNIQUE)).id
        flush = self.flush(0, [Used(alias, NOVEMBER, amount, self.now, 0)], generation)
        await PostgresProjection(self.pool, generation).apply(flush)
        await self.pool.execute(_LEVEL, generation, live)
        async with (
            self.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            await price_generation(connection, generation)
        async with generations.hold_live() as held:
            await held.promote(generation, back=False)

    def another_finalizer(self) -> Finalizer:
        """As another projector has it."""
        return Finalizer(
            PostgresFinals(self.pool),
            self.log,
            lambda: self.now,
            grace=GRACE,
            partitions=PARTITIONS,
        )

    async def customer(
        self, alias: str, start: datetime = NOVEMBER, **span: str
    ) -> tuple[str, str]:
        """A customer on the plan: its id, and that of its plan; with its drafts priced."""
        customer = await self.api.make_customer(alias, name=alias)
        body = {"plan_id": self.plan, "starting_on": start.isoformat(), **span}
        reply = await self.api.post(f"/v1/customers/{customer}/plans/add", body)
        await self.price()
        return customer, reply["data"]["id"]

    def use(
        self, reference: str, amount: int, at: datetime, partition: int = 0, group: str = ""
    ) -> None:
        """An event is accepted now."""
        self.log.now_ms = int(self.now.timestamp() * 1000)
        self.log.put(RAW, partition, None, b"")
        used = Used(reference, at, amount, self.now, partition, tuple(group))
        self.waiting.setdefault(partition, []).append(used)

    async def count(self, *partitions: int) -> list[Used]:
        """Everything accepted in these partitions, or in all, is counted; returns it."""
        counted = []
        for partition in partitions or tuple(self.waiting):
            used = self.waiting.pop(partition, [])
            if used:
                await self.projection.apply(self.flush(partition, used))
            counted += used
        return counted

    def flush(self, partition: int, used: list[Used], generation: int = 0) -> Flush:
        """What counts these events as a partition's next."""
        place = generation, partition
        expected = self.positions.get(place)
        first = 0 if expected is None else expected.next_raw
        advance = Advance(
            expected=expected,
            first_raw=first,
            next_raw=first + len(used),
            next_rated=1 if expected is None else expected.next_rated + 1,
            ingested_to=used[-1].accepted_at,
            catalog_version=1,
            counted=len(used),
        )
        self.positions[place] = Position(advance.next_raw, advance.next_rated)
        aggregates: dict[AggregateKey, Aggregate] = {}
        for each in used:
            key = AggregateKey(each.reference, self.metric, each.group, hour_of(each.at))
            aggregates.setdefault(key, Aggregate()).merge(Aggregate(1, Decimal(each.amount)))
        return Flush({partition: advance}, aggregates)

    async def price(self) -> None:
        """Every mark is taken."""
        while await self.pricer.price_stale():
            pass

    async def finalize(self) -> None:
        """What is due is finalized."""
        await self.finalizer.finalize_due()

    async def settle(self) -> None:
        """All that the projector does, until nothing is left to do."""
        await self.count()
        await self.drafts.open_periods(self.now)
        await self.price()
        await self.finalize()
        await self.finalizer.compare_late()

    async def invoices(self, customer: str, **query: str) -> list[dict[str, Any]]:
        """As the API lists them."""
        found: list[dict[str, Any]] = (
            await self.api.get(f"/v1/customers/{customer}/invoices", 200, **query)
        )["data"]
        return found

    async def invoice(self, customer: str, start: datetime = NOVEMBER) -> dict[str, Any]:
        """The one of a period that is not void."""
        [found] = [
            each
            for each in await self.invoices(customer)
            if each["status"] != "VOID" and datetime.fromisoformat(each["start_timestamp"]) == start
        ]
        return found

    async def status(self, customer: str) -> str:
        """Of November's invoice."""
        return str((await self.invoice(customer))["status"])

    async def late(self, invoice_id: str) -> dict[str, Any]:
        """Its late usage."""
        reply = await self.api.get(f"/v1/tollgate/invoices/{invoice_id}/late-usage")
        found: dict[str, Any] = reply["data"]
        return found

    async def finalized(self, alias: str, amount: int) -> tuple[str, str, dict[str, Any]]:
        """A customer with November finalized: its id, its plan's, and the invoice."""
        customer, customer_plan = await self.customer(alias)
        self.use(alias, amount, NOVEMBER + HOUR)
        await self.count()
        self.now = DUE + HOUR
        await self.settle()
        invoice = await self.invoice(customer)
        assert (invoice["status"], invoice["total"]) == ("FINALIZED", amount)
        return customer, customer_plan, invoice
