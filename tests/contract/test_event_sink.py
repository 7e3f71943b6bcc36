"""The contract of the sink, in memory and on Kafka: what put returned for is in usage.raw, in the
partition of its id, under its id; what it could not store it says.
"""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol
from uuid import uuid4

import pytest

from services.domain.event import EVENT_BYTES_MAX
from services.domain.partition import partition_of
from services.gateway.sink import EventSink, Unavailable
from services.gateway.sink_kafka import KafkaEventSink
from services.gateway.sink_memory import MemoryEventSink
from services.runtime.log import RAW, Log, Record
from services.runtime.log_kafka import KafkaLog
from services.runtime.log_memory import MemoryLog
from services.runtime.topics import ensure_topics
from tests.conftest import Servers
from tests.contract.conftest import Loop

PARTITIONS = 8
Events = list[tuple[str, bytes]]


@dataclass
class Subject:
    """A sink, and what arrived in usage.raw since the test began."""

    sink: EventSink
    log: Log
    begin: dict[int, int] = field(default_factory=dict)

    async def mark(self) -> None:
        """What is there already is not the test's."""
        self.begin = {p: (await self.log.bounds(RAW, p))[1] for p in range(PARTITIONS)}

    async def arrived(self, partition: int) -> list[Record]:
        """The records of a partition since the mark, in order."""
        found: list[Record] = []
        offset = self.begin[partition]
        while records := await self.log.read(RAW, partition, offset):
            found += records
            offset = records[-1].offset + 1
        return found

    async def by_partition(self) -> dict[int, Events]:
        """(key, value) of everything that arrived."""
        return {
            p: [((r.key or b"").decode(), r.value or b"") for r in await self.arrived(p)]
            for p in range(PARTITIONS)
        }


@pytest.fixture(scope="module")
def kafka(loop: Loop, servers: Servers) -> Iterator[Subject]:
    address = servers.kafka_bootstrap_servers

    async def made() -> tuple[KafkaEventSink, KafkaLog]:
        await ensure_topics(address, partitions=PARTITIONS)
        log = KafkaLog(address, "contract", partitions=PARTITIONS, read_only=True)
        await log.start()
        sink = KafkaEventSink(address, PARTITIONS)
        await sink.start()
        await until_connected(sink)
        return sink, log

    sink, log = loop.run(made())
    yield Subject(sink, log)
    loop.run(sink.stop())
    loop.run(log.stop())


async def until_connected(sink: KafkaEventSink) -> None:
    """Readiness, as the gateway asks for it."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await sink.check()
            except Unavailable:
                await asyncio.sleep(0.02)


@pytest.fixture(params=["memory", "kafka"])
def subject(request: pytest.FixtureRequest, loop: Loop) -> Subject:
    if request.param == "memory":
        log = MemoryLog()
        subject = Subject(MemoryEventSink(log, PARTITIONS), log)
    else:
        subject = request.getfixturevalue("kafka")
    loop.run(subject.mark())
    return subject


def events(count: int, size: int = 20) -> Events:
    """Events with ids of their own, each with content to recognise."""
    ids = [f"{number}-{uuid4()}" for number in range(count)]
    return [(key, key.encode().ljust(size, b".")) for key in ids]


def expected(*puts: Events) -> dict[int, Events]:
    """Where they must be."""
    placed: dict[int, Events] = {p: [] for p in range(PARTITIONS)}
    for put in puts:
        for key, content in put:
            placed[partition_of(key, PARTITIONS)].append((key, content))
    return placed


def test_events_are_in_the_partition_of_their_id_in_order_and_keyed(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        first, second = events(100), events(50)
        await subject.sink.put(first)
        await subject.sink.put(second)
        assert await subject.by_partition() == expected(first, second)

    loop.run(scenario())


def test_bytes_and_ids_are_kept_as_they_are(loop: Loop, subject: Subject) -> None:
    odd = [("\u00e4\U0001f600", b'{"n":0.1000000000000000000000000001}'), (" ", b"\x00\xff")]

    async def scenario() -> None:
        await subject.sink.put(odd)
        assert await subject.by_partition() == expected(odd)

    loop.run(scenario())


def test_a_repeated_event_is_stored_each_time(loop: Loop, subject: Subject) -> None:
    """Dedup is not the sink's: every acknowledged sighting is in the log."""
    [event] = events(1)

    async def scenario() -> None:
        await subject.sink.put([event, event])
        await subject.sink.put([event])
        assert await subject.by_partition() == expected([event] * 3)

    loop.run(scenario())


def test_requests_at_once_are_all_stored_whole(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        puts = [events(20) for _ in range(30)]
        await asyncio.gather(*(subject.sink.put(put) for put in puts))
        found = await subject.by_partition()
        assert {p: sorted(held) for p, held in found.items()} == {
            p: sorted(held) for p, held in expected(*puts).items()
        }

    loop.run(scenario())


def test_the_largest_events_are_stored(loop: Loop, subject: Subject) -> None:
    """Five of 256 KiB in one partition are more than one batch holds."""
    largest: Events = []
    while len(largest) < 5:
        [event] = events(1, EVENT_BYTES_MAX)
        if partition_of(event[0], PARTITIONS) == 3:
            largest.append(event)

    async def scenario() -> None:
        await subject.sink.put(largest)
        assert await subject.by_partition() == expected(largest)

    loop.run(scenario())


def test_nothing_to_put_is_no_fault(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.sink.put([])
        assert await subject.by_partition() == expected()

    loop.run(scenario())


class Absent(Protocol):
    """Makes a sink whose log is away, inside the loop."""

    def __call__(self) -> EventSink: ...


def absent_memory() -> EventSink:
    sink = MemoryEventSink(MemoryLog(), PARTITIONS)
    sink.available = False
    return sink


def absent_kafka() -> EventSink:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return KafkaEventSink(f"127.0.0.1:{port}", PARTITIONS)


@pytest.mark.parametrize("absent", [absent_memory, absent_kafka])
def test_a_log_that_is_away_is_said_at_once(loop: Loop, absent: Absent) -> None:
    async def scenario() -> None:
        sink = absent()
        if isinstance(sink, KafkaEventSink):
            await sink.start()
            with pytest.raises(Unavailable):
                await sink.check()
        try:
            for _ in range(3):
                async with asyncio.timeout(1):
                    with pytest.raises(Unavailable):
                        await sink.put(events(1))
                await asyncio.sleep(0.05)
        finally:
            if isinstance(sink, KafkaEventSink):
                await sink.stop()

    loop.run(scenario())


def test_stopping_sends_what_is_still_open(loop: Loop, servers: Servers, kafka: Subject) -> None:
    async def scenario() -> None:
        await kafka.mark()
        sink = KafkaEventSink(servers.kafka_bootstrap_servers, PARTITIONS)
        await sink.start()
        await until_connected(sink)
        put = events(30)
        waiting = asyncio.create_task(sink.put(put))
        await asyncio.sleep(0)
        await sink.stop()
        await waiting
        assert await kafka.by_partition() == expected(put)

    loop.run(scenario())
