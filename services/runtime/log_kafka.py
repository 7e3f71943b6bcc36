"""The log on Kafka, by aiokafka. Appends with acks=all from an idempotent producer.

No Kafka transactions (DESIGN section 2) and no committed offsets here.
"""

import asyncio
from hashlib import blake2b
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, OffsetOutOfRangeError

from services.runtime.log import (
    BATCH_BYTES_MAX,
    TOPICS,
    AppendFailed,
    OffsetGone,
    Record,
    RecordTooLarge,
)

REQUEST_TIMEOUT_MS = 30_000
# The largest record of any topic of ours. A buffer of the producer grows with what is put into it.
RECORD_BYTES_MAX = max(BATCH_BYTES_MAX.values())
# When to close a batch of several records. A record beyond it is a batch of its own.
_BATCH_BYTES = 4 * 1024 * 1024
# What a fetch brings of a partition, so that a reader's memory is bounded. Kafka delivers a first
# record beyond it whole, so there is no record that cannot be read.
FETCH_BYTES = 4 * 1024 * 1024
_READ_WAIT_MS = 1_000
_FETCH_WAIT_MS = 10


class KafkaLog:
    """See `services.runtime.log.Log`."""

    def __init__(
        self,
        bootstrap_servers: str,
        client_id: str,
        *,
        partitions: int = 0,
        read_only: bool = False,
    ) -> None:
        """`partitions`: how many each of our topics has; others are learnt when they are read."""
        self._producer: AIOKafkaProducer | None = None
        if not read_only:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=bootstrap_servers,
                client_id=client_id,
                acks="all",
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                max_request_size=RECORD_BYTES_MAX,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
            )
        self._reader = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            enable_auto_commit=False,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            # What is read is there: the broker need never wait, and a fetch that is under way for
            # the partition before must not hold up the next.
            fetch_max_wait_ms=_FETCH_WAIT_MS,
        )
        # The reader holds every partition it may be asked for, all paused but the one being read:
        # a new assignment costs a round of metadata.
        self._known = {TopicPartition(t, p) for t in TOPICS for p in range(partitions)}
        self._reading = asyncio.Lock()

    async def start(self) -> None:
        """Connect; raises KafkaError when no broker answers."""
        if self._producer is not None:
            await self._producer.start()
        await self._reader.start()
        if self._known:
            self._hold(self._known)

    async def stop(self) -> None:
        """Flush and disconnect."""
        if self._producer is not None:
            await self._producer.stop()
        await self._reader.stop()

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """See Log."""
        assert self._producer is not None, "this log was opened read-only"
        try:
            sent = await self._producer.send_and_wait(topic, value, partition=partition)
        except MessageSizeTooLargeError as error:
            raise RecordTooLarge(topic, partition, len(value)) from error
        except KafkaError as error:
            raise AppendFailed(
                f"{topic}[{partition}]: Kafka did not acknowledge a record of {len(value)} bytes:"
                f" {error!r}. Nothing is lost: the stage resumes from the last record it wrote."
            ) from error
        return int(sent.offset)

    async def last(self, topic: str, partition: int) -> Record | None:
        """See Log."""
        start, end = await self.bounds(topic, partition)
        if end == start:
            return None
        return (await self.read(topic, partition, end - 1))[-1]

    async def read(self, topic: str, partition: int, offset: int) -> list[Record]:
        """See Log."""
        place = TopicPartition(topic, partition)
        async with self._reading:
            end = (await self._reader.end_offsets([place]))[place]
            if offset >= end:
                return []
            if place not in self._known:
                self._hold(self._known | {place})
            self._reader.seek(place, offset)
            self._reader.resume(place)
            try:
                while True:
                    fetched = await self._reader.getmany(place, timeout_ms=_READ_WAIT_MS)
                    records = [as_record(record) for record in fetched.get(place, ())]
                    if records:
                        return records
            except OffsetOutOfRangeError as error:
                start = (await self._reader.beginning_offsets([place]))[place]
                raise OffsetGone(topic, partition, offset, start) from error
            finally:
                self._reader.pause(place)  # or it would go on fetching ahead

    def _hold(self, places: set[TopicPartition]) -> None:
        self._known = places
        self._reader.assign(sorted(places))
        self._reader.pause(*places)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See Log."""
        place = TopicPartition(topic, partition)
        async with self._reading:
            start = (await self._reader.beginning_offsets([place]))[place]
            end = (await self._reader.end_offsets([place]))[place]
        return start, end

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See Log."""
        place = TopicPartition(topic, partition)
        async with self._reading:
            found = (await self._reader.offsets_for_times({place: max(timestamp_ms, 0)}))[place]
            if found is not None:
                return int(found.offset)
            end: int = (await self._reader.end_offsets([place]))[place]
        return end


async def cluster_namespace(bootstrap_servers: str) -> str:
    """Eight characters that stand for this Kafka cluster; raises KafkaError when it is away."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        cluster = await admin.describe_cluster()
    finally:
        await admin.close()
    return blake2b(str(cluster["cluster_id"]).encode(), digest_size=4).hexdigest()


def as_record(record: Any) -> Record:
    """aiokafka's record, which has no type, as ours (see `records_kafka`: it may be)."""
    if type(record) is Record:
        return record
    return Record(record.partition, record.offset, record.timestamp, record.key, record.value)
