"""A consumer in memory, for tests and simulation: the test is the group and gives out partitions.

Keeps the contract of `services.runtime.consumer`. Never waits: a poll with nothing to read is
empty at once.
"""

import asyncio
from collections.abc import Mapping, Sequence

from services.runtime.consumer import Assignee, OffsetsGone
from services.runtime.log import Record
from services.runtime.log_memory import MemoryLog


class MemoryConsumer:
    """See `services.runtime.consumer.Consumer`."""

    def __init__(self, log: MemoryLog, topic: str) -> None:
        self.topic = topic
        self.positions: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self._log = log
        self._held: tuple[int, ...] = ()
        self._paused: set[int] = set()
        self._assignee: Assignee | None = None

    async def start(self, assignee: Assignee) -> None:
        """See Consumer; nothing is held until the test assigns."""
        self._assignee = assignee

    async def stop(self) -> None:
        """See Consumer."""
        self._held = ()

    async def assign(self, partitions: Sequence[int]) -> None:
        """A rebalance: everything is revoked, then these are given. Until the assignee seeks, a
        partition is read from the committed offset, as Kafka does it."""
        assert self._assignee is not None, "assigned before start"
        await self._assignee.revoked(self._held)
        self._held = tuple(sorted(partitions))
        self._paused.clear()
        self.positions = {p: self.committed[p] for p in self._held if p in self.committed}
        await self._assignee.assigned(self._held)

    async def poll(self, records_max: int) -> Mapping[int, Sequence[Record]]:
        """See Consumer."""
        await asyncio.sleep(0)
        fetched: dict[int, Sequence[Record]] = {}
        gone: dict[int, int] = {}
        left = records_max
        for partition, position in self._reading():
            start, end = await self._log.bounds(self.topic, partition)
            if not start <= position <= end:
                gone[partition] = position
            elif position < end and left > 0:
                records = (await self._log.read(self.topic, partition, position))[:left]
                fetched[partition] = records
                self.positions[partition] = position + len(records)
                left -= len(records)
        if gone and not fetched:
            raise OffsetsGone(self.topic, gone)
        return fetched

    def behind(self) -> bool:
        """See Consumer."""
        return any(
            position < len(self._log.partitions[self.topic, partition])
            for partition, position in self._reading()
        )

    def _reading(self) -> list[tuple[int, int]]:
        return [
            (partition, self.positions[partition])
            for partition in self._held
            if partition in self.positions and partition not in self._paused
        ]

    def seek(self, partition: int, offset: int) -> None:
        """See Consumer."""
        if partition in self._held:
            self.positions[partition] = offset

    def pause(self, partition: int) -> None:
        """See Consumer."""
        if partition in self._held:
            self._paused.add(partition)

    def assignment(self) -> tuple[int, ...]:
        """See Consumer."""
        return self._held

    async def commit(self, positions: Mapping[int, int]) -> None:
        """See Consumer."""
        self.committed.update(positions)
