"""The contract of the log, in memory and on Kafka: appends are durable and dense, reads go
anywhere and in order.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import pytest

from services.runtime.log import (
    BATCH_BYTES_MAX,
    FRAME_BYTES,
    RATED,
    Log,
    OffsetGone,
    Record,
    RecordTooLarge,
)
from services.runtime.log_kafka import KafkaLog
from services.runtime.log_memory import MemoryLog
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.contract.topics import DECLARED, create_topic, delete_topics, truncate

LARGEST = BATCH_BYTES_MAX[RATED] - FRAME_BYTES


@dataclass
class Subject:
    """A log with an empty topic of two partitions."""

    log: Log
    topic: str = field(default_factory=lambda: f"contract-{uuid4().hex}")
    kafka: str = ""  # its address, when it is the real one

    async def append(self, partition: int, *values: bytes) -> list[int]:
        """Append in order; the offsets."""
        return [await self.log.append(self.topic, partition, value) for value in values]

    async def read_all(self, partition: int, offset: int = 0) -> list[Record]:
        """Everything from an offset on, in as many reads as it takes."""
        found: list[Record] = []
        while records := await self.log.read(self.topic, partition, offset):
            found += records
            offset = records[-1].offset + 1
        return found

    async def truncate(self, partition: int, before: int) -> None:
        """Delete the records below an offset."""
        if isinstance(self.log, MemoryLog):
            self.log.truncate(self.topic, partition, before)
        else:
            await truncate(self.kafka, self.topic, partition, before)

    async def wait(self) -> None:
        """Let the log's clock go on."""
        if isinstance(self.log, MemoryLog):
            self.log.now_ms += 5
        else:
            await asyncio.sleep(0.005)


@pytest.fixture(scope="module")
def kafka_log(loop: Loop, servers: Servers) -> Iterator[KafkaLog]:
    async def made() -> KafkaLog:
        log = KafkaLog(servers.kafka_bootstrap_servers, "contract")
        await log.start()
        return log

    log = loop.run(made())
    yield log
    loop.run(log.stop())


@pytest.fixture(params=["memory", "kafka"])
def subject(request: pytest.FixtureRequest, loop: Loop) -> Iterator[Subject]:
    if request.param == "memory":
        yield Subject(MemoryLog())
        return
    servers: Servers = request.getfixturevalue("servers")
    subject = Subject(request.getfixturevalue("kafka_log"), kafka=servers.kafka_bootstrap_servers)
    loop.run(
        create_topic(servers.kafka_bootstrap_servers, subject.topic, **DECLARED[RATED]["config"])
    )
    yield subject
    loop.run(delete_topics(servers.kafka_bootstrap_servers, [subject.topic]))


def test_an_empty_partition(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        log, topic = subject.log, subject.topic
        assert await log.last(topic, 0) is None
        assert await log.bounds(topic, 0) == (0, 0)
        assert await log.read(topic, 0, 0) == []
        assert await log.offset_at(topic, 0, 0) == 0

    loop.run(scenario())


def test_offsets_are_dense_and_each_partition_has_its_own(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        assert await subject.append(0, b"a", b"b", b"c") == [0, 1, 2]
        assert await subject.append(1, b"x") == [0]
        assert await subject.append(0, b"d") == [3]
        assert await subject.log.bounds(subject.topic, 0) == (0, 4)
        assert await subject.log.bounds(subject.topic, 1) == (0, 1)

    loop.run(scenario())


def test_what_was_appended_is_read_back_in_order_and_whole(loop: Loop, subject: Subject) -> None:
    values = [b"", b"\x00\xff binary", b"text", b"x" * 100_000]

    async def scenario() -> None:
        await subject.append(1, *values)
        records = await subject.read_all(1)
        assert [record.value for record in records] == values
        assert [record.offset for record in records] == [0, 1, 2, 3]
        assert {(record.partition, record.key) for record in records} == {(1, None)}

    loop.run(scenario())


def test_an_append_is_there_for_the_very_next_call(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        for number in range(5):
            value = str(number).encode()
            await subject.append(0, value)
            last = await subject.log.last(subject.topic, 0)
            assert last is not None
            assert (last.offset, last.value) == (number, value)

    loop.run(scenario())


def test_reads_begin_anywhere_and_go_back_and_forth(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        for partition in (0, 1):
            await subject.append(partition, *(f"{partition}-{n}".encode() for n in range(10)))
        for partition, offset in [(0, 7), (1, 0), (0, 0), (0, 9), (1, 3), (1, 2), (0, 2)]:
            first = (await subject.log.read(subject.topic, partition, offset))[0]
            assert (first.offset, first.value) == (offset, f"{partition}-{offset}".encode())

    loop.run(scenario())


@pytest.mark.parametrize("beyond", [0, 1, 1_000])
def test_a_read_at_or_beyond_the_end_gives_nothing(
    loop: Loop, subject: Subject, beyond: int
) -> None:
    async def scenario() -> None:
        await subject.append(0, b"a", b"b")
        assert await subject.log.read(subject.topic, 0, 2 + beyond) == []

    loop.run(scenario())


def test_a_truncated_partition_says_what_is_gone_and_jumps_nowhere(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        log, topic = subject.log, subject.topic
        for partition in (0, 1):
            await subject.append(partition, *(str(n).encode() for n in range(10)))
        await subject.truncate(0, 6)
        for offset in (0, 5):
            with pytest.raises(OffsetGone) as gone:
                await log.read(topic, 0, offset)
            assert (gone.value.topic, gone.value.partition) == (topic, 0)
            assert (gone.value.offset, gone.value.start) == (offset, 6)
        assert await log.bounds(topic, 0) == (6, 10)
        assert [r.offset for r in await subject.read_all(0, 6)] == [6, 7, 8, 9]
        assert [r.offset for r in await subject.read_all(1)] == list(range(10))
        assert await log.offset_at(topic, 0, 0) == 6
        assert await subject.append(0, b"next") == [10]

    loop.run(scenario())


def test_a_partition_truncated_to_its_end_is_empty_and_goes_on_counting(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        await subject.append(0, b"a", b"b")
        await subject.truncate(0, 2)
        assert await subject.log.bounds(subject.topic, 0) == (2, 2)
        assert await subject.log.last(subject.topic, 0) is None
        assert await subject.log.read(subject.topic, 0, 2) == []
        with pytest.raises(OffsetGone):
            await subject.log.read(subject.topic, 0, 1)
        assert await subject.append(0, b"c") == [2]
        assert [r.value for r in await subject.log.read(subject.topic, 0, 2)] == [b"c"]

    loop.run(scenario())


def test_more_than_one_read_gives_is_read_in_pieces_without_loss(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        appends = (subject.append(0, str(n).encode().rjust(5_000)) for n in range(1_200))
        offsets = [offset for [offset] in await asyncio.gather(*appends)]
        assert sorted(offsets) == list(range(1_200))
        records = await subject.read_all(0)
        assert [record.offset for record in records] == list(range(1_200))
        by_offset = {record.offset: int(record.value or b"") for record in records}
        assert [by_offset[offset] for offset in offsets] == list(range(1_200))

    loop.run(scenario())


def test_the_largest_record_we_write_is_appended_and_read(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.append(0, b"before", b"y" * LARGEST, b"after")
        assert [len(r.value or b"") for r in await subject.read_all(0)] == [6, LARGEST, 5]

    loop.run(scenario())


def test_a_larger_record_is_refused_and_the_log_goes_on(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.append(0, b"before")
        with pytest.raises(RecordTooLarge, match=subject.topic) as refused:
            await subject.append(0, b"y" * BATCH_BYTES_MAX[RATED])
        assert refused.value.size == BATCH_BYTES_MAX[RATED]
        assert await subject.append(0, b"after") == [1]
        assert [r.value for r in await subject.read_all(0)] == [b"before", b"after"]

    loop.run(scenario())


def test_offset_at_is_the_first_record_at_or_after_an_instant(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        for _ in range(6):
            await subject.append(0, b"x")
            await subject.wait()
        times = [record.timestamp_ms for record in await subject.read_all(0)]
        instants = {-1, 0, *(at + delta for at in times for delta in (-1, 0, 1))}
        for instant in instants:
            expected = next((n for n, at in enumerate(times) if at >= instant), len(times))
            assert await subject.log.offset_at(subject.topic, 0, instant) == expected

    loop.run(scenario())
