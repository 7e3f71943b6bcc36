"""A consumer in a Kafka group, by aiokafka. Never resets a position by itself."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from services.runtime.consumer import Assignee, GroupLost, OffsetsGone
from services.runtime.log import Record
from services.runtime.log_kafka import FETCH_BYTES, as_record

logger = logging.getLogger(__name__)

# Of a poll that finds nothing; it returns as soon as anything is there.
POLL_WAIT_MS = 500
# A partition of a worker that was paused longer than this goes to another worker.
SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 2_000
# How long to leave aiokafka alone when it misses a committed offset before our seek.
_SEEK_WAIT_S = 0.02
# aiokafka waits for the group's coordinator without end, and after a kill of Kafka it may never
# come; offsets for lag tools must not hold up the counting.
_COMMIT_S_MAX = 5.0
# In a row. There is one a second at most, and none while Kafka is away, since no records come.
_COMMITS_FAILED_MAX = 10


class KafkaConsumer:
    """See `services.runtime.consumer.Consumer`."""

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        topic: str,
        group: str,
        instance_id: str | None = None,
        fetch_bytes: int = FETCH_BYTES,
    ) -> None:
        """`instance_id`: of a static member of the group (TOLLGATE_INSTANCE_ID), or None;
        `fetch_bytes`: what a poll brings of a partition, about (a record beyond it comes whole)."""
        self._topic = topic
        self._group = group
        self._behind = False
        self._commits_failed = 0
        # Given no records until they are assigned again.
        self._halted: set[int] = set()
        # Paused from one poll to the next. aiokafka would fetch ahead as soon as a poll has emptied
        # its buffer: the little that had come by then, and the next poll would bring no more.
        self._resting: set[TopicPartition] = set()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            group_instance_id=instance_id,
            client_id=group,
            enable_auto_commit=False,
            # An offset that is gone must be seen, not jumped over.
            auto_offset_reset="none",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_partition_fetch_bytes=fetch_bytes,
            fetch_max_wait_ms=POLL_WAIT_MS,
        )

    async def start(self, assignee: Assignee) -> None:
        """See Consumer; raises KafkaError when no broker answers."""
        self._consumer.subscribe([self._topic], listener=_Listener(assignee, self._halted))
        await self._consumer.start()

    async def stop(self) -> None:
        """See Consumer."""
        await self._consumer.stop()

    async def poll(self, records_max: int) -> Mapping[int, Sequence[Record]]:
        """See Consumer."""
        self._fetch()
        try:
            fetched = await self._consumer.getmany(timeout_ms=POLL_WAIT_MS, max_records=records_max)
        except NoOffsetForPartitionError:
            # Between an assignment and our seek aiokafka looks for a committed offset, and a new
            # group has none. The seek is on its way.
            await asyncio.sleep(_SEEK_WAIT_S)
            return {}
        except OffsetOutOfRangeError as error:
            gone = {place.partition: offset for place, offset in error.args[0].items()}
            raise OffsetsGone(self._topic, gone) from error
        if fetched:
            self._behind = self._left_over(fetched, records_max)
            if not self._behind:
                self._rest()
        return {
            place.partition: [as_record(record) for record in records]
            for place, records in fetched.items()
            if records
        }

    def _left_over(self, fetched: Mapping[TopicPartition, Sequence[Any]], records_max: int) -> bool:
        held = self._consumer.assignment()
        return sum(map(len, fetched.values())) >= records_max or any(
            records[-1].offset + 1 < (self._consumer.highwater(place) or 0)
            for place, records in fetched.items()
            if records and place in held
        )

    def _rest(self) -> None:
        for place in self._consumer.assignment():
            if place.partition not in self._halted:
                self._consumer.pause(place)
                self._resting.add(place)

    def _fetch(self) -> None:
        for place in self._resting:
            if place.partition not in self._halted:
                with suppress(IllegalStateError):
                    self._consumer.resume(place)
        self._resting.clear()

    def behind(self) -> bool:
        """See Consumer."""
        return self._behind

    def seek(self, partition: int, offset: int) -> None:
        """See Consumer."""
        place = TopicPartition(self._topic, partition)
        with suppress(IllegalStateError):
            self._consumer.seek(place, offset)
            if partition in self._halted:
                self._consumer.resume(place)
        self._halted.discard(partition)

    def pause(self, partition: int) -> None:
        """See Consumer. aiokafka fetches nothing from a broker while any partition there, paused
        or not, has no position; so a partition that never had one is given one."""
        place = TopicPartition(self._topic, partition)
        self._halted.add(partition)
        with suppress(IllegalStateError):
            self._consumer.seek(place, 0)
            self._consumer.pause(place)

    def assignment(self) -> frozenset[int]:
        """See Consumer."""
        return frozenset(place.partition for place in self._consumer.assignment())

    async def commit(self, positions: Mapping[int, int]) -> None:
        """See Consumer."""
        try:
            async with asyncio.timeout(_COMMIT_S_MAX):
                await self._consumer.commit(
                    {TopicPartition(self._topic, p): offset for p, offset in positions.items()}
                )
        except (KafkaError, TimeoutError) as error:
            logger.warning("offsets for lag tools were not committed: %r", error)
            self._commits_failed += 1
            if self._commits_failed >= _COMMITS_FAILED_MAX:
                raise GroupLost(self._group, error) from error
        else:
            self._commits_failed = 0


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Passes on what the group gives and takes."""

    def __init__(self, assignee: Assignee, halted: set[int]) -> None:
        self._assignee = assignee
        self._halted = halted

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        await self._assignee.revoked(sorted(place.partition for place in revoked))

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        self._halted.clear()
        await self._assignee.assigned(sorted(place.partition for place in assigned))
