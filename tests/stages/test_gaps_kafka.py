"""Topics truncated and made anew on the real Kafka: each stage says at its open which topic and
partition is broken, counts nothing past the gap, and the other partition goes on.
"""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from services.dedup.index_memory import MemorySeenIndex
from services.dedup.step import DedupStep
from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken
from services.domain.partition import partition_of
from services.projector.projection_memory import MemoryProjection
from services.projector.step import ProjectorStep
from services.rating.catalog_memory import MemoryCatalogSource
from services.rating.step import RatingStep
from services.runtime.events import encode_event
from services.runtime.log import RATED, RAW, UNIQUE
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.pipeline.harness import PARTITIONS, SUM_OF_BYTES, event
from tests.stages.places import OwnTopics

KEYS = {p: [k for n in range(60) if partition_of(k := f"k{n}", PARTITIONS) == p] for p in (0, 1)}
STAGES = (RAW, UNIQUE, RATED)


class Stages:
    """All stages over real topics; an event of either partition is worth a power of two."""

    def __init__(self, log: OwnTopics) -> None:
        self.log = log
        self.index = MemorySeenIndex()
        self.projection = MemoryProjection()
        self.catalogs = MemoryCatalogSource(Catalog(1, (SUM_OF_BYTES,)))

    async def post(self, *numbers: int) -> None:
        """These events, for both partitions."""
        for partition, keys in KEYS.items():
            events = [event(keys[n], str(2 ** (2 * n + partition))) for n in numbers]
            records = [(e.transaction_id.encode(), encode_event(e)) for e in events]
            await self.log.put(RAW, partition, *records)

    async def run(self, *topics: str) -> list[ChainBroken]:
        """New processes of the readers of these topics take what there is."""
        broken = []
        for topic in topics or STAGES:
            for partition in range(PARTITIONS):
                try:
                    await self._read(topic, partition)
                except ChainBroken as found:
                    broken.append(found)
        return broken

    async def _read(self, topic: str, partition: int) -> None:
        if topic == UNIQUE:
            rating = RatingStep(self.log, self.catalogs)
            offset = await rating.open(partition)
            for record in await self.log.all(topic, partition, offset):
                await rating.process(record)
            return
        step: DedupStep | ProjectorStep = DedupStep(self.log, self.index, PARTITIONS)
        if topic == RATED:
            step = ProjectorStep(self.log, self.projection, lambda: None)
        offset = await step.open(partition)
        assert not await step.process({partition: await self.log.all(topic, partition, offset)})

    def counted(self, partition: int) -> set[int]:
        """The numbers of the events of a partition that were counted, each once."""
        total = sum(int(a.total) for a in self.projection.aggregates.values())
        return {n for n in range(20) if total >> (2 * n + partition) & 1}


def with_stages(
    loop: Loop, servers: Servers, scenario: Callable[[Stages], Awaitable[None]]
) -> None:
    """Two ranges a partition are counted; then the scenario."""

    async def whole() -> None:
        async with OwnTopics(servers.kafka_bootstrap_servers) as log:
            stages = Stages(log)
            for numbers in [(0, 1), (2, 3)]:
                await stages.post(*numbers)
                assert await stages.run() == []
            await scenario(stages)

    loop.run(whole())


def places(found: Sequence[ChainBroken]) -> list[tuple[str, int, int, int]]:
    return [(b.topic, b.partition, b.expected, b.found) for b in found]


@pytest.mark.parametrize(
    ("topic", "expected", "start"), [(RAW, 4, 5), (UNIQUE, 2, 3), (RATED, 2, 3)]
)
def test_a_topic_truncated_past_its_readers_position_stops_that_partition_alone(
    loop: Loop, servers: Servers, topic: str, expected: int, start: int
) -> None:
    async def scenario(stages: Stages) -> None:
        for numbers in [(4, 5), (6, 7)]:
            await stages.post(*numbers)
            before = STAGES[: STAGES.index(topic)]
            if before:
                assert await stages.run(*before) == []
        await stages.log.truncate(topic, 0, start)
        found = await stages.run()
        assert places(found) == [(topic, 0, expected, start)]
        assert f"{topic}[0]" in str(found[0])
        assert "restore" in str(found[0])
        assert stages.counted(0) == {0, 1, 2, 3}
        assert stages.counted(1) == set(range(8))

    with_stages(loop, servers, scenario)


@pytest.mark.parametrize("topic", STAGES)
def test_a_topic_made_anew_stops_its_reader(loop: Loop, servers: Servers, topic: str) -> None:
    async def scenario(stages: Stages) -> None:
        await stages.log.make_anew(topic)
        found = await stages.run(topic)
        assert [(b.topic, b.partition) for b in found] == [(topic, 0), (topic, 1)]
        assert stages.counted(0) == stages.counted(1) == {0, 1, 2, 3}

    with_stages(loop, servers, scenario)


def test_a_usage_raw_made_anew_that_has_grown_past_the_checkpoint_is_noticed(
    loop: Loop, servers: Servers
) -> None:
    async def scenario(stages: Stages) -> None:
        await stages.log.make_anew(RAW)
        await stages.post(*range(8, 14))
        found = await stages.run(RAW)
        assert [(b.topic, b.partition) for b in found] == [(RAW, 0), (RAW, 1)]
        assert "made anew" in str(found[0])

    with_stages(loop, servers, scenario)


def test_rating_halts_the_partition_that_is_truncated_as_it_reads(
    loop: Loop, servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(stages: Stages) -> None:
        rating = RatingStep(stages.log, stages.catalogs)
        for partition in range(PARTITIONS):
            await rating.open(partition)
        for numbers in [(4, 5), (6, 7)]:
            await stages.post(*numbers)
            await stages.run(RAW)
        await stages.log.truncate(UNIQUE, 0, 3)
        for partition in range(PARTITIONS):
            [last] = await stages.log.all(UNIQUE, partition, 3)
            await rating.process(last)
        assert "usage.unique[0]: expected to go on at offset 2, found 3" in caplog.text
        await stages.run(RATED)
        assert stages.counted(0) == {0, 1, 2, 3}
        assert stages.counted(1) == set(range(8))

    with_stages(loop, servers, scenario)


def test_retention_may_take_what_every_reader_has_passed(loop: Loop, servers: Servers) -> None:
    async def scenario(stages: Stages) -> None:
        for topic, start in [(RAW, 4), (UNIQUE, 1), (RATED, 1)]:
            await stages.log.truncate(topic, 0, start)
        await stages.post(4, 5)
        assert await stages.run() == []
        assert stages.counted(0) == stages.counted(1) == set(range(6))
        # What was seen in records that are gone is remembered, and counts once.
        await stages.post(*range(6))
        assert await stages.run() == []
        assert stages.counted(0) == stages.counted(1) == set(range(6))
        kinds = stages.projection.fates.values()
        assert sum(fate.duplicates for fate in kinds) == 12

    with_stages(loop, servers, scenario)
