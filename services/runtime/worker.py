"""The main loop of the stages that read with a plain consumer (dedup, projector).

Kafka's group assigns partitions; where to read on is the stage's own checkpoint, never a committed
offset. Committed offsets are written for lag tools only.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from services.domain.chain import ChainBroken
from services.runtime.failpoint import reach
from services.runtime.log import Record
from services.runtime.log_kafka import RECORD_BYTES_MAX, as_record

logger = logging.getLogger(__name__)

# Long enough to batch under load, short enough that a lone event is not kept waiting; getmany
# returns as soon as anything is there.
POLL_WAIT_MS = 500
# A partition of a worker that was paused longer than this goes to another worker.
SESSION_TIMEOUT_MS = 10_000
HEARTBEAT_MS = 2_000


class Step(Protocol):
    """What a stage does with its partitions. Any exception but ChainBroken ends the process."""

    async def open(self, partition: int) -> int:
        """Take a partition over; returns the offset to read from. Raises ChainBroken."""
        ...

    async def close(self, partition: int) -> None:
        """Give a partition up."""
        ...

    async def process(self, records: Mapping[int, Sequence[Record]]) -> list[ChainBroken]:
        """Take records of one poll, by partition; returns the partitions that must stop."""
        ...


class Worker(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """One consumer in a group that feeds a step."""

    def __init__(
        self, bootstrap_servers: str, *, topic: str, group: str, records_max: int, step: Step
    ) -> None:
        self._topic = topic
        self._step = step
        self._records_max = records_max
        self._busy = asyncio.Lock()
        # Partitions whose chain seemed broken, with the offset that was expected.
        self._suspect: dict[int, int] = {}
        self._fatal: asyncio.Future[None] | None = None
        self._assigned = asyncio.Event()
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap_servers,
            group_id=group,
            client_id=group,
            enable_auto_commit=False,
            # For the moment between an assignment and the seek to the checkpoint. Reading too
            # early is harmless, the chain skips repeats; "none" would end the process instead.
            auto_offset_reset="earliest",
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_partition_fetch_bytes=RECORD_BYTES_MAX,
            fetch_max_wait_ms=POLL_WAIT_MS,
        )

    async def start(self) -> None:
        """Join the group and take over the partitions it gives."""
        self._fatal = asyncio.get_running_loop().create_future()
        self._consumer.subscribe([self._topic], listener=self)
        await self._consumer.start()

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll and process until told to stop."""
        while not stopping.is_set():
            fetched = await self._poll()
            if fetched:
                await self._process(fetched)

    async def stop(self) -> None:
        """Leave the group."""
        await self._consumer.stop()

    async def on_partitions_revoked(self, revoked: list[TopicPartition]) -> None:
        """Give partitions up between two calls of the step."""
        async with self._busy:
            for place in revoked:
                await self._step.close(place.partition)

    async def on_partitions_assigned(self, assigned: list[TopicPartition]) -> None:
        """Seek every new partition to the stage's own checkpoint."""
        assert self._fatal is not None
        async with self._busy:
            for place in sorted(assigned, key=lambda place: int(place.partition)):
                try:
                    self._consumer.seek(place, await self._step.open(place.partition))
                except ChainBroken as broken:
                    self._halt(broken)
                except Exception as error:  # noqa: BLE001 (aiokafka would log it and go on)
                    if not self._fatal.done():
                        self._fatal.set_exception(error)
                    return
        partitions = sorted(place.partition for place in assigned)
        logger.info("reads %s, partitions %s", self._topic, partitions)
        self._assigned.set()

    async def wait_assigned(self) -> None:
        """Until the group has given out its partitions for the first time."""
        await self._assigned.wait()

    async def _poll(self) -> Mapping[TopicPartition, list[object]]:
        assert self._fatal is not None
        fetching = asyncio.ensure_future(
            self._consumer.getmany(timeout_ms=POLL_WAIT_MS, max_records=self._records_max)
        )
        await asyncio.wait([fetching, self._fatal], return_when=asyncio.FIRST_COMPLETED)
        if self._fatal.done():
            fetching.cancel()
            self._fatal.result()
        fetched: Mapping[TopicPartition, list[object]] = await fetching
        return fetched

    async def _process(self, fetched: Mapping[TopicPartition, list[object]]) -> None:
        async with self._busy:
            # A rebalance may have taken partitions away since the poll.
            held = self._consumer.assignment()
            records = {
                place.partition: [as_record(record) for record in batch]
                for place, batch in fetched.items()
                if place in held and batch
            }
            reach("after_poll")
            for broken in await self._step.process(records):
                await self._doubt(broken)
            positions = {
                place: batch[-1].offset + 1  # type: ignore[attr-defined]  # no types
                for place, batch in fetched.items()
                if place in held and batch
            }
        await self._show_progress(positions)

    async def _doubt(self, broken: ChainBroken) -> None:
        """Seek back to the checkpoint once: records polled before a rebalance look like a gap."""
        if self._suspect.get(broken.partition) == broken.expected:
            self._halt(broken)
            return
        self._suspect[broken.partition] = broken.expected
        try:
            position = await self._step.open(broken.partition)
        except ChainBroken as still_broken:
            self._halt(still_broken)
            return
        self._consumer.seek(TopicPartition(self._topic, broken.partition), position)

    def _halt(self, broken: ChainBroken) -> None:
        logger.error("%s", broken)
        self._consumer.pause(TopicPartition(self._topic, broken.partition))

    async def _show_progress(self, positions: Mapping[TopicPartition, int]) -> None:
        """Commit for lag tools; nothing of ours reads it, so a failure is only worth a line."""
        if not positions:
            return
        try:
            await self._consumer.commit(positions)
        except KafkaError as error:
            logger.warning("offsets for lag tools were not committed: %r", error)
