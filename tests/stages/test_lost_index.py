"""A real Redis that loses what it knew, in mid-stream: the dedup step puts the ids back from
usage.unique and goes on; no event is lost and none is doubled.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from services.dedup.__main__ import dedup
from services.dedup.index_redis import EvictingRedis, RedisSeenIndex
from services.dedup.step import DedupStep
from services.runtime.events import encode_event
from services.runtime.log import RAW, UNIQUE, Record
from services.runtime.log_memory import MemoryLog
from services.runtime.records import decode_unique
from services.runtime.settings import read_settings
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.pipeline.harness import event
from tests.stages.places import OwnTopics

SEEDS = range(4)
Keys = dict[bytes, Any]  # key -> text or hash


async def state_of(redis: Redis, namespace: str) -> Keys:
    """Everything the index holds."""
    held: Keys = {}
    async for key in redis.scan_iter(match=f"{namespace}*", count=10_000):
        is_mark = key.endswith(b"mark")
        held[key] = await (redis.get(key) if is_mark else redis.hgetall(key))
    return held


async def put_back(redis: Redis, namespace: str, state: Keys) -> None:
    """Make the index hold exactly that, as a restart from an older file does."""
    for key in await state_of(redis, namespace):
        await redis.delete(key)
    for key, value in state.items():
        await (redis.hset(key, mapping=value) if isinstance(value, dict) else redis.set(key, value))


class Stream:
    """Usage.raw with ids that come again, and the dedup step on a Redis that is struck."""

    def __init__(self, redis: Redis, namespace: str, seed: int) -> None:
        self.redis, self.namespace = redis, namespace
        self.draw = random.Random(seed)
        self.log = MemoryLog()
        self.step = DedupStep(self.log, RedisSeenIndex(redis, namespace), 1)
        self.older: Keys = {}
        self.strikes = 0

    async def run(self, strike: Callable[["Stream"], Awaitable[None]]) -> None:
        """40 batches, of which every second comes with a strike: before it, or between its claim
        and its append."""
        await self.step.open(0)
        append = self.log.append
        for number in range(40):
            fresh = [self.post() for _ in range(self.draw.randint(1, 12))]
            struck_at = self.draw.choice(["before", "after claim", "never", "never"])

            async def struck(
                topic: str, partition: int, value: bytes, now: bool = struck_at == "after claim"
            ) -> int:
                if now:
                    await self.strike(strike)
                return await append(topic, partition, value)

            self.log.append = struck  # type: ignore[method-assign]  # the strike is in between
            if struck_at == "before":
                await self.strike(strike)
            if number % 5 == 0:
                self.older = await state_of(self.redis, self.namespace)
            assert await self.step.process({0: fresh}) == []
            if number % 7 == 0:  # a new process
                self.step = DedupStep(self.log, RedisSeenIndex(self.redis, self.namespace), 1)
                await self.step.open(0)
        assert self.strikes > 5

    async def strike(self, strike: Callable[["Stream"], Awaitable[None]]) -> None:
        """Lose something."""
        self.strikes += 1
        await strike(self)

    def post(self) -> Record:
        """One of 60 ids, with one of two contents."""
        key = f"id-{self.draw.randint(0, 59)}"
        content = encode_event(event(key, self.draw.choice("122")))
        return self.log.partitions[RAW, 0][self.log.put(RAW, 0, key.encode(), content)]

    def fates(self) -> dict[int, str]:
        """Raw offset -> what dedup made of it; each exactly once."""
        fates: dict[int, str] = {}
        for record in self.log.partitions[UNIQUE, 0]:
            batch = decode_unique(record.value, "")
            assert batch.first == len(fates)
            fates.update(dict.fromkeys(range(batch.first, batch.last + 1), "duplicate"))
            fates.update({batch.first + offset: "unique" for offset in batch.offsets})
            fates.update({batch.first + c.offset: "conflict" for c in batch.conflicts})
        return fates

    def expected(self) -> dict[int, str]:
        """The same, from usage.raw alone."""
        first: dict[bytes | None, bytes | None] = {}
        fates: dict[int, str] = {}
        for record in self.log.partitions[RAW, 0]:
            known = first.setdefault(record.key, record.value)
            fates[record.offset] = "duplicate" if known == record.value else "conflict"
        seen: set[bytes | None] = set()
        for record in self.log.partitions[RAW, 0]:
            if record.key not in seen:
                seen.add(record.key)
                fates[record.offset] = "unique"
        return fates


async def flushed(stream: Stream) -> None:
    """FLUSHALL."""
    await stream.redis.flushall()


async def lost_its_last_seconds(stream: Stream) -> None:
    """A restart from what was on the disk some batches ago."""
    await put_back(stream.redis, stream.namespace, stream.older)


async def replaced(stream: Stream) -> None:
    """An empty one in its place: its other data are there, ours are not. Scripts are unknown."""
    await put_back(stream.redis, stream.namespace, {})
    await stream.redis.script_flush()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("strike", [flushed, lost_its_last_seconds, replaced])
def test_a_redis_that_loses_in_mid_stream_costs_no_event_and_doubles_none(
    loop: Loop,
    redis: Redis,
    namespace: str,
    seed: int,
    strike: Callable[[Stream], Awaitable[None]],
) -> None:
    async def scenario() -> None:
        stream = Stream(redis, namespace, seed)
        await stream.run(strike)
        assert stream.fates() == stream.expected(), f"seed {seed}"

    loop.run(scenario())


async def lost_all_but_the_mark(stream: Stream) -> None:
    """What no Redis does: the ids are gone, and the mark says that they are there."""
    mark = {
        k: v
        for k, v in (await state_of(stream.redis, stream.namespace)).items()
        if k.endswith(b"mark")
    }
    await put_back(stream.redis, stream.namespace, mark)


def test_without_the_mark_the_losses_would_show(loop: Loop, redis: Redis, namespace: str) -> None:
    """Negative control of the tests above."""

    async def scenario() -> None:
        stream = Stream(redis, namespace, 0)
        await stream.run(lost_all_but_the_mark)
        doubled = [o for o, fate in stream.fates().items() if fate != stream.expected()[o]]
        assert doubled

    loop.run(scenario())


def test_a_flush_is_made_good_from_usage_unique_on_the_real_kafka(
    loop: Loop, servers: Servers, redis: Redis, namespace: str
) -> None:
    events = [event(f"id-{n}", "1") for n in range(30)]
    records = [(e.transaction_id.encode(), encode_event(e)) for e in events]

    async def scenario() -> None:
        async with OwnTopics(servers.kafka_bootstrap_servers) as log:
            step = DedupStep(log, RedisSeenIndex(redis, namespace), 1)
            await step.open(0)
            for taken in (records[:10], records[5:20], records[:30]):
                start = (await log.bounds(RAW, 0))[1]
                await log.put(RAW, 0, *taken)
                assert await step.process({0: await log.all(RAW, 0, start)}) == []
                await redis.flushall()
            batches = [decode_unique(r.value, "") for r in await log.all(UNIQUE, 0, 0)]
            assert [len(batch.offsets) for batch in batches] == [10, 10, 10]
            assert [bytes(raw) for b in batches for raw in b.events] == [v for _, v in records]

    loop.run(scenario())


def test_dedup_does_not_start_on_a_redis_that_may_evict(
    loop: Loop, servers: Servers, redis: Redis
) -> None:
    settings = read_settings(
        {
            "KAFKA_BOOTSTRAP_SERVERS": servers.kafka_bootstrap_servers,
            "REDIS_URL": servers.redis_url,
            "DATABASE_URL": servers.database_url,
        }
    )

    async def scenario() -> None:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            async with asyncio.timeout(60):
                with pytest.raises(EvictingRedis, match=r"allkeys-lru.*noeviction"):
                    await dedup(settings, asyncio.Event())
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")

    loop.run(scenario())
