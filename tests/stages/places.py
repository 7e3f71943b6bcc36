"""The topics of Tollgate under names of a test's own on the real Kafka: one log of the stages."""

from types import TracebackType
from typing import Self
from uuid import uuid4

from aiokafka import AIOKafkaProducer

from services.runtime.log import TOPICS, Record
from services.runtime.log_kafka import KafkaLog
from tests.contract.topics import DECLARED, create_topic, delete_topics, make_anew, truncate


class OwnTopics:
    """See `services.runtime.log.Log`; two partitions a topic, removed on exit."""

    def __init__(self, bootstrap_servers: str) -> None:
        self._servers = bootstrap_servers
        self._prefix = f"stages-{uuid4().hex}-"
        self._log = KafkaLog(bootstrap_servers, "stages")

    async def __aenter__(self) -> Self:
        for topic in TOPICS:
            await create_topic(self._servers, self._prefix + topic, **DECLARED[topic]["config"])
        await self._log.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._log.stop()
        await delete_topics(self._servers, [self._prefix + topic for topic in TOPICS])

    async def put(self, topic: str, partition: int, *records: tuple[bytes, bytes]) -> None:
        """Append (key, value) records in order, as a producer of raw events does."""
        producer = AIOKafkaProducer(bootstrap_servers=self._servers)
        await producer.start()
        try:
            for key, value in records:
                await producer.send_and_wait(
                    self._prefix + topic, value, key=key, partition=partition
                )
        finally:
            await producer.stop()

    async def truncate(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below an offset."""
        await truncate(self._servers, self._prefix + topic, partition, before)

    async def make_anew(self, topic: str) -> None:
        """Delete the topic and create it again; the log is another process's from then on."""
        await self._log.stop()
        await make_anew(self._servers, self._prefix + topic)
        self._log = KafkaLog(self._servers, "stages")
        await self._log.start()

    async def all(self, topic: str, partition: int, offset: int) -> list[Record]:
        """Every record from an offset on."""
        found: list[Record] = []
        while records := await self.read(topic, partition, offset):
            found += records
            offset = records[-1].offset + 1
        return found

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """See Log."""
        return await self._log.append(self._prefix + topic, partition, value)

    async def last(self, topic: str, partition: int) -> Record | None:
        """See Log."""
        return await self._log.last(self._prefix + topic, partition)

    async def read(self, topic: str, partition: int, offset: int) -> list[Record]:
        """See Log."""
        return await self._log.read(self._prefix + topic, partition, offset)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See Log."""
        return await self._log.bounds(self._prefix + topic, partition)

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See Log."""
        return await self._log.offset_at(self._prefix + topic, partition, timestamp_ms)
