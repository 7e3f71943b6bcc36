"""A catalog on a running stack, and loads on it of which every event must reach a draft."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from tests.bench.bodies import Shape
from tests.bench.catalog import Catalog, make_catalog
from tests.bench.database import connected
from tests.bench.drafts import Drafts, Expected
from tests.bench.load import Generator, Order, Posted, own_cpu_seconds
from tests.bench.stack import Stack, Usage

DRAIN_S_MAX = 600.0
_SAMPLE_EVERY_S = 0.5

Sample = tuple[float, int]  # seconds since the first request, events accepted but not yet counted


@dataclass(frozen=True, slots=True)
class Drained:
    """A load, up to its last event on a draft."""

    posted: Posted
    settled_s: float  # when the last one was seen there
    cpu_s: dict[str, float]
    others_cores: float
    backlog: list[Sample]

    @property
    def per_s(self) -> float:
        """Events a second from the first request to the last draft."""
        return self.posted.events / (self.settled_s - self.posted.began_s)

    @property
    def tail_s(self) -> float:
        """From the last answer to the last draft."""
        return self.settled_s - self.posted.last_answer_s

    @property
    def cpu_us(self) -> dict[str, float]:
        """By process, of an event."""
        return {name: 1e6 * used / self.posted.events for name, used in self.cpu_s.items()}

    def summary(self) -> dict[str, Any]:
        """For the report."""
        return {
            **self.posted.summary(),
            "end_to_end_per_s": self.per_s,
            "accepted_per_s": self.posted.events / self.posted.seconds,
            "last_answer_to_last_draft_s": self.tail_s,
            "cpu_us_per_event": sum(self.cpu_us.values()),
            "cpu_us_per_event_by_process": self.cpu_us,
            "cores_busy_with_other_work": self.others_cores,
        }


@dataclass(slots=True)
class Site:
    """Where loads are posted and what they must have come to."""

    stack: Stack
    catalog: Catalog
    drafts: Drafts
    expected: Expected = field(default_factory=Expected)
    more_gateways: list[tuple[str, int]] = field(default_factory=list)

    @property
    def token(self) -> str:
        """The admin's."""
        return str(self.stack.run["token"])

    def shape(self, **fields: Any) -> Shape:
        """Events of this catalog, now, under ids that no other run has."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        given = {
            "run": uuid4().hex[:8],
            "prefix": self.catalog.prefix,
            "event_type": self.catalog.event_type,
            "customers": self.catalog.customers,
            "first_at": now,
            "last_at": now,
        }
        return Shape(**{**given, **fields})

    async def drained(
        self, order: Order, meanwhile: Callable[[], Coroutine[Any, Any, int]] | None = None
    ) -> Drained:
        """Post it all and wait until all of it is on drafts, exactly; raises BenchError.

        `meanwhile` posts events of its own and says how many.
        """
        before = await self.drafts.taken()
        addresses = [self.stack.api, *self.more_gateways]
        async with Generator(addresses, self.token, order) as generator:
            usage, own_s = Usage(self.stack), own_cpu_seconds()
            backlog: list[Sample] = []
            began = time.monotonic()
            await generator.go()
            async with asyncio.TaskGroup() as tasks:  # if one fails, the other is not left behind
                posting = tasks.create_task(generator.posted())
                beside = tasks.create_task(meanwhile()) if meanwhile else None
                while not posting.done():
                    accepted = generator.accepted()
                    counted = await self.drafts.taken() - before
                    backlog.append((time.monotonic() - began, accepted - counted))
                    await asyncio.wait([posting], timeout=_SAMPLE_EVERY_S)
            posted = posting.result()
            others = 0 if beside is None else beside.result()
        settled_s = await self.drafts.settled(before + posted.events + others, DRAIN_S_MAX)
        cpu_s = usage.seconds()
        busy = usage.others_cores(posted.cpu_s + own_cpu_seconds() - own_s)
        await self.count(posted)
        return Drained(posted, settled_s, cpu_s, busy, backlog)

    async def posted(self, order: Order) -> Posted:
        """Post it all, to every gateway, watching nothing."""
        addresses = [self.stack.api, *self.more_gateways]
        async with Generator(addresses, self.token, order) as generator:
            await generator.go()
            return await generator.posted()

    async def settled(self, before: int, posted: Sequence[Posted]) -> float:
        """Wait until all of it is on drafts, exactly, when `before` events were put away before;
        returns when."""
        events = sum(each.events for each in posted)
        settled_s = await self.drafts.settled(before + events, DRAIN_S_MAX)
        await self.count(*posted)
        return settled_s

    async def count(self, *posted: Posted) -> None:
        """What was posted must be on the drafts by now."""
        self.expected.unique += sum(each.unique for each in posted)
        self.expected.amount += sum(each.amount for each in posted)
        await self.drafts.check(self.catalog, self.expected)


@asynccontextmanager
async def site_on(stack: Stack, customers: int, **fields: Any) -> AsyncIterator[Site]:
    """A new catalog on a stack."""
    catalog = await make_catalog(stack, customers, **fields)
    async with connected(stack.database_url) as connection:
        yield Site(stack, catalog, Drafts(connection))
