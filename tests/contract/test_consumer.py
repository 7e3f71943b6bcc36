"""The consumer on Kafka: it reads from where it was told and nowhere else. Its rules in memory are
in tests/runtime/test_worker.py.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from msgspec import structs

from services.runtime.consumer import OffsetsGone
from services.runtime.consumer_kafka import KafkaConsumer
from services.runtime.log import BATCH_BYTES_MAX, FRAME_BYTES, RATED, Record
from services.runtime.log_kafka import KafkaLog
from services.runtime.records_kafka import hand_out_own_records
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.contract.topics import DECLARED, create_topic, delete_topics

WAIT_S = 60.0


class Told:
    """An assignee that seeks as the test says: partition -> offset, None for a pause."""

    def __init__(self, consumer: KafkaConsumer, starts: dict[int, int | None]) -> None:
        self.consumer = consumer
        self.starts = starts
        self.late_s = 0.0

    async def assigned(self, partitions: Sequence[int]) -> None:
        await asyncio.sleep(self.late_s)
        for partition in partitions:
            start = self.starts[partition]
            if start is None:
                self.consumer.pause(partition)
            else:
                self.consumer.seek(partition, start)

    async def revoked(self, partitions: Sequence[int]) -> None:
        return


@asynccontextmanager
async def consuming(
    servers: Servers,
    starts: dict[int, int | None],
    late_s: float = 0.0,
    gone: bool = False,
    large: int = 0,
) -> AsyncIterator[KafkaConsumer]:
    """A new group on a topic with ten records in each of two partitions; with `gone` the first
    five of partition 0 are deleted; with `large` it ends with records of that many bytes."""
    topic = f"contract-{uuid4().hex}"
    await create_topic(servers.kafka_bootstrap_servers, topic, **DECLARED[RATED]["config"])
    log = KafkaLog(servers.kafka_bootstrap_servers, "contract")
    await log.start()
    for number in range(20):
        await log.append(topic, number % 2, b"%d" % number)
    for _ in range(2 if large else 0):
        await log.append(topic, 0, b"x" * large)
    await log.stop()
    if gone:
        admin = AIOKafkaAdminClient(bootstrap_servers=servers.kafka_bootstrap_servers)
        await admin.start()
        await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(5)})
        await admin.close()
    consumer = KafkaConsumer(servers.kafka_bootstrap_servers, topic=topic, group=topic)
    told = Told(consumer, starts)
    told.late_s = late_s
    await consumer.start(told)
    try:
        yield consumer
    finally:
        await consumer.stop()
        await delete_topics(servers.kafka_bootstrap_servers, [topic])


async def offsets_read(consumer: KafkaConsumer, count: int) -> dict[int, list[int]]:
    """Offsets by partition, once `count` came."""
    found: dict[int, list[int]] = {}
    async with asyncio.timeout(WAIT_S):
        while sum(map(len, found.values())) < count:
            for partition, records in (await consumer.poll(4)).items():
                assert {record.partition for record in records} == {partition}
                found.setdefault(partition, []).extend(record.offset for record in records)
    return found


def test_a_new_group_waits_for_the_seek_and_reads_from_there(loop: Loop, servers: Servers) -> None:
    """The seek comes late, so that the search for a committed offset fails before it."""

    async def go() -> dict[int, list[int]]:
        async with consuming(servers, {0: 3, 1: 10}, late_s=1.0) as consumer:
            return await offsets_read(consumer, 7)

    assert loop.run(go()) == {0: [3, 4, 5, 6, 7, 8, 9]}


def test_a_partition_paused_before_any_seek_does_not_hold_up_the_others(
    loop: Loop, servers: Servers
) -> None:
    async def go() -> dict[int, list[int]]:
        async with consuming(servers, {0: None, 1: 8}) as consumer:
            found = await offsets_read(consumer, 2)
            assert await consumer.poll(4) == {}
            return found

    assert loop.run(go()) == {1: [8, 9]}


@pytest.mark.parametrize("position", [2, 11])
def test_an_offset_that_is_gone_is_told_until_a_pause_and_the_others_go_on(
    loop: Loop, servers: Servers, position: int
) -> None:
    async def go() -> None:
        async with consuming(servers, {0: position, 1: 8}, gone=True) as consumer:
            found: list[int] = []
            told: list[dict[int, int]] = []
            async with asyncio.timeout(WAIT_S):
                while len(told) < 2 or found != [8, 9]:
                    try:
                        polled = await consumer.poll(4)
                    except OffsetsGone as gone:
                        told.append(gone.offsets)
                    else:
                        assert set(polled) <= {1}
                        found += [record.offset for record in polled.get(1, ())]
            assert all(offsets == {0: position} for offsets in told)
            consumer.pause(0)
            assert await consumer.poll(4) == {}
            assert await consumer.poll(4) == {}

    loop.run(go())


def test_nothing_is_read_ahead_once_all_was_read(loop: Loop, servers: Servers) -> None:
    """What comes between two polls comes with the second, of all partitions in one piece."""

    async def go() -> None:
        async with consuming(servers, {0: 9, 1: 9}) as consumer:
            assert await offsets_read(consumer, 2) == {0: [9], 1: [9]}
            assert not consumer.behind()
            log = KafkaLog(servers.kafka_bootstrap_servers, "contract")
            await log.start()
            for number in range(40):
                await log.append(consumer._topic, number % 2, b"%d" % number)
            await log.stop()
            polled = await consumer.poll(1_000)
            assert {p: len(records) for p, records in polled.items()} == {0: 20, 1: 20}
            assert not consumer.behind()

    loop.run(go())


def test_it_is_behind_while_the_log_holds_more(loop: Loop, servers: Servers) -> None:
    async def go() -> None:
        async with consuming(servers, {0: 5, 1: 10}) as consumer:
            assert await offsets_read(consumer, 4) == {0: [5, 6, 7, 8]}
            assert consumer.behind()
            assert await offsets_read(consumer, 1) == {0: [9]}
            assert not consumer.behind()

    loop.run(go())


def test_own_records_say_the_same_and_no_others_are_made(
    loop: Loop, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a stage that asks for them; a log in the same process takes them as well."""

    async def go() -> tuple[Sequence[Record], Sequence[Record]]:
        async with consuming(servers, {0: 0, 1: 10}) as consumer:
            log = KafkaLog(servers.kafka_bootstrap_servers, "contract", read_only=True)
            await log.start()
            read = await log.read(consumer._topic, 0, 0)
            await log.stop()
            return (await consumer.poll(100))[0], read

    plain, read = loop.run(go())
    assert plain == read
    assert [(record.offset, record.value) for record in plain] == [
        (number, b"%d" % (2 * number)) for number in range(10)
    ]
    kept = PartitionRecords._consumer_record
    monkeypatch.setattr(PartitionRecords, "_consumer_record", kept)  # and so put back
    hand_out_own_records()
    monkeypatch.setattr(fetcher, "ConsumerRecord", None)
    own, read = loop.run(go())
    assert [type(record) for record in own] == [Record] * 10
    assert (
        own
        == read
        == [
            structs.replace(record, timestamp_ms=again.timestamp_ms)
            for record, again in zip(plain, own, strict=True)
        ]
    )


def test_the_largest_records_are_read_beside_a_partition_that_has_much_to_read(
    loop: Loop, servers: Servers
) -> None:
    """A fetch asks for less than such a record: Kafka gives it whole when it comes first."""

    async def go() -> dict[int, list[int]]:
        largest = BATCH_BYTES_MAX[RATED] - FRAME_BYTES
        async with consuming(servers, {0: 9, 1: 0}, large=largest) as consumer:
            return await offsets_read(consumer, 13)

    assert loop.run(go()) == {0: [9, 10, 11], 1: list(range(10))}
