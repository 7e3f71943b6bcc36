"""Ids expire by the log's own clock in the real Redis, through the real dedup step, with time
handed in; what the window has left gives its memory back.
"""

import pytest
from redis.asyncio import Redis

from services.dedup.index_redis import RedisSeenIndex
from services.dedup.step import DedupStep
from services.domain.partition import partition_of
from services.runtime.events import encode_event
from services.runtime.log import RAW, UNIQUE, Record
from services.runtime.log_memory import MemoryLog
from services.runtime.records import decode_unique
from tests.contract.conftest import Loop
from tests.pipeline.harness import event

DAY_MS = 24 * 60 * 60 * 1000
START_MS = 1_764_000_000_000
# (day, amount) of the sightings of one id.
SIGHTINGS = [(0, "1"), (33, "1"), (33, "7"), (35, "10"), (68, "10"), (68, "1"), (70, "100")]


class Days:
    """Usage.raw by days, and the dedup step on it, partition 0 of 1."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self.log = MemoryLog()
        self.index = RedisSeenIndex(redis, namespace)
        self.step = DedupStep(self.log, self.index, 1)

    def post(self, day: int, key: str, amount: str = "1") -> Record:
        """An event ingested on that day."""
        assert partition_of(key, 1) == 0
        self.log.now_ms = START_MS + day * DAY_MS
        offset = self.log.put(RAW, 0, key.encode(), encode_event(event(key, amount)))
        return self.log.partitions[RAW, 0][offset]

    async def take(self, *records: Record) -> None:
        """Let a new dedup process judge records."""
        step = DedupStep(self.log, self.index, 1)
        await step.open(0)
        assert await step.process({0: records}) == []

    def verdicts(self) -> tuple[list[int], dict[int, int]]:
        """Raw offsets of the unique events, and of the conflicts with their first sightings."""
        batches = [decode_unique(r.value, "") for r in self.log.partitions[UNIQUE, 0]]
        unique = [batch.first + offset for batch in batches for offset in batch.offsets]
        return unique, {b.first + c.offset: c.first_offset for b in batches for c in b.conflicts}


def test_an_id_is_a_duplicate_on_day_33_and_new_on_day_35(
    loop: Loop, redis: Redis, namespace: str
) -> None:
    async def scenario() -> None:
        days = Days(redis, namespace)
        for day, amount in SIGHTINGS:
            await days.take(days.post(day, "a", amount))
        # Day 68 is a duplicate of day 35, not of day 0: the second life is what is remembered.
        assert days.verdicts() == ([0, 3, 6], {2: 0, 5: 3})

    loop.run(scenario())


@pytest.mark.parametrize("live", [0, 3, 5])
def test_a_replay_with_a_fresh_index_gives_the_same_verdicts(
    loop: Loop, redis: Redis, namespace: str, live: int
) -> None:
    """`live`: how many records are judged one at a time before the index is lost; the rest then
    come in one go."""

    async def scenario() -> None:
        days = Days(redis, namespace)
        records = [days.post(day, "a", amount) for day, amount in SIGHTINGS]
        for record in records[:live]:
            await days.take(record)
        days.index = RedisSeenIndex(redis, f"{namespace}-again")
        await days.take(*records[live:])
        assert days.verdicts() == ([0, 3, 6], {2: 0, 5: 3})

    loop.run(scenario())


async def ids_in(redis: Redis, namespace: str) -> int:
    """Ids held."""
    return await redis.hlen(f"{namespace}{{0}}:2:ids")


async def ids_after(days: Days, redis: Redis, namespace: str) -> int:
    """How many ids Redis holds after 80 days of 20 new ids, one range each."""
    await days.step.open(0)
    for day in range(80):
        for number in range(20):
            assert await days.step.process({0: [days.post(day, f"{day}-{number}")]}) == []
    return await ids_in(redis, namespace)


def test_ids_that_left_the_window_leave_redis(loop: Loop, redis: Redis, namespace: str) -> None:

    async def scenario() -> None:
        assert await ids_after(Days(redis, namespace), redis, namespace) == 36 * 20

    loop.run(scenario())


def test_without_the_sweep_they_would_stay_for_ever(
    loop: Loop, redis: Redis, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control of the test above."""

    async def idle(self: RedisSeenIndex, partition: int, cursor: int, oldest: int) -> int:
        return 0

    monkeypatch.setattr(RedisSeenIndex, "sweep", idle)

    async def scenario() -> None:
        assert await ids_after(Days(redis, namespace), redis, namespace) == 80 * 20

    loop.run(scenario())
