"""Records that are rated at the same time: those of a partition stay in order, those of another do
not wait for them, and each has the catalog as it was after it came.
"""

import asyncio
from collections import defaultdict
from typing import Any

from services.domain.catalog import Catalog
from services.rating.catalog_postgres import PostgresCatalogSource
from services.rating.step import RatingStep
from services.runtime.log import RATED, UNIQUE
from services.runtime.log_memory import MemoryLog
from services.runtime.records import decode_rated
from tests.pipeline.harness import PARTITIONS
from tests.pipeline.ranges import drive, post, two_ranges


class SlowLog(MemoryLog):
    """Acknowledges an append to partition 0 only when told."""

    def __init__(self) -> None:
        super().__init__()
        self.acknowledge = asyncio.Event()
        self.under_way: dict[int, int] = defaultdict(int)

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """See Log."""
        self.under_way[partition] += 1
        assert self.under_way[partition] == 1, "sent before the one before was acknowledged"
        if partition == 0:
            await self.acknowledge.wait()
        self.under_way[partition] -= 1
        return await super().append(topic, partition, value)


def test_of_a_partition_in_order_and_others_do_not_wait() -> None:
    pipeline = two_ranges()

    async def scenario() -> None:
        for numbers in [(4, 5), (6, 7), (8, 9)]:
            post(pipeline, *numbers)
            await drive(pipeline.restarted(), "dedup")
        log = SlowLog()
        log.partitions = pipeline.log.partitions
        step = RatingStep(log, pipeline.catalogs)
        records = []
        for partition in range(PARTITIONS):
            offset = await step.open(partition)
            records += log.partitions[UNIQUE, partition][offset:]
        tasks = [asyncio.create_task(step.process(record)) for record in records]
        await asyncio.sleep(0.01)
        sizes = [len(log.partitions[RATED, partition]) for partition in range(PARTITIONS)]
        assert sizes == [2, 5]
        log.acknowledge.set()
        await asyncio.gather(*tasks)
        for partition in range(PARTITIONS):
            written = log.partitions[RATED, partition]
            batches = [decode_rated(record.value, "") for record in written]
            assert [batch.source_offset for batch in batches] == list(range(5))
            assert [batch.first for batch in batches[1:]] == [b.last + 1 for b in batches[:-1]]

    asyncio.run(scenario())


class SlowPool:
    """Answers `SELECT version` with the version at the moment it was asked, when told."""

    def __init__(self) -> None:
        self.version = 1
        self.answers: list[asyncio.Future[int]] = []
        self.asked_with: list[int] = []

    async def fetchval(self, _: str) -> int:
        """The version."""
        self.asked_with.append(self.version)
        self.answers.append(asyncio.get_running_loop().create_future())
        return await self.answers[-1]

    def answer(self) -> None:
        """The oldest question that has none yet."""
        at = next(n for n, answer in enumerate(self.answers) if not answer.done())
        self.answers[at].set_result(self.asked_with[at])


class Source(PostgresCatalogSource):
    """Without metrics."""

    async def _load(self) -> Catalog:
        return Catalog(self._pool.version, ())


def test_an_answer_counts_only_for_those_who_came_before_it_was_asked() -> None:
    async def scenario() -> None:
        pool: Any = SlowPool()
        source, held = Source(pool), Catalog(1, ())
        first = asyncio.create_task(source.current(held))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert pool.asked_with == [1]
        pool.version = 2
        later = [asyncio.create_task(source.current(held)) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert pool.asked_with == [1]  # one after the other
        pool.answer()
        assert (await first) is held
        await asyncio.sleep(0.01)
        assert pool.asked_with == [1, 2]  # one question for all who waited
        pool.answer()
        assert {(await task).version for task in later} == {2}

    asyncio.run(scenario())


def test_who_is_given_up_takes_nobody_else_along() -> None:
    async def scenario() -> None:
        pool: Any = SlowPool()
        source, held = Source(pool), Catalog(1, ())
        one, other = (asyncio.create_task(source.current(held)) for _ in range(2))
        await asyncio.sleep(0.01)
        one.cancel()
        await asyncio.sleep(0.01)
        pool.answer()
        assert (await other) is held
        again = asyncio.create_task(source.current(held))
        await asyncio.sleep(0.01)
        pool.answer()
        assert (await again) is held

    asyncio.run(scenario())
