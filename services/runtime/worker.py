"""The main loop of the stages that read with a plain consumer (dedup, projector).

The group assigns partitions; where to read on is the stage's own checkpoint, never a committed
offset. Committed offsets are written for lag tools only. Never talks to Kafka itself.

What a poll costs hardly depends on how much it brings, so polls are paced: after one that brought
all there was, the loop rests, and what comes meanwhile comes together. Never before the first
event after an idle stretch, and never while there is a backlog. With fewer partitions less comes in
the same time, so the rest is longer.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from services.domain.chain import ChainBroken
from services.runtime.consumer import Consumer, OffsetsGone
from services.runtime.failpoint import reach
from services.runtime.log import Record

logger = logging.getLogger(__name__)

# How much longer a rest may be with few partitions. It is as much older that a draft may be.
PACE_STRETCH_MAX = 2.0
# Lag tools look every few seconds; a commit costs as much as a poll.
COMMIT_EVERY_S = 1.0


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


def stretch(held: int, partitions: int) -> float:
    """How many times as long a worker rests that holds so many of the partitions."""
    return min(max(1.0, partitions / max(1, held)), PACE_STRETCH_MAX)


class Worker:
    """One consumer in a group that feeds a step."""

    def __init__(
        self,
        consumer: Consumer,
        *,
        topic: str,
        records_max: int,
        step: Step,
        partitions: int = 0,
        pace_s: float = 0.0,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        """`partitions`: how many the topic has; `pace_s`: under load, from one poll's answer to the
        next poll, for a worker that holds all of them; `ready`: called once the first partitions
        that the group gave are taken over."""
        self._consumer = consumer
        self._topic = topic
        self._records_max = records_max
        self._step = step
        self._partitions = partitions
        self._pace_s = pace_s
        self._rest_s = pace_s
        self._ready = ready
        self._was_ready = False
        # Held while the step works, so that partitions come and go between two of its calls.
        self._busy = asyncio.Lock()
        # Partitions whose chain seemed broken since they were assigned, with the offset that was
        # expected; and those that are given up until they are assigned again.
        self._suspect: dict[int, int] = {}
        self._halted: set[int] = set()
        self._fatal: asyncio.Future[None] | None = None
        # Positions that lag tools are not told yet, and when they were told last.
        self._untold: dict[int, int] = {}
        self._told_at = 0.0

    async def start(self) -> None:
        """Join the group and take over the partitions it gives."""
        self._fatal = asyncio.get_running_loop().create_future()
        await self._consumer.start(self)

    async def run(self, stopping: asyncio.Event) -> None:
        """Poll and process until told to stop. Runs from before the first assignment, whose
        errors it raises."""
        ending = asyncio.ensure_future(stopping.wait())
        try:
            while not stopping.is_set():
                try:
                    await self._turn(ending)
                except OffsetsGone as gone:
                    await self._reopen(gone)
        finally:
            ending.cancel()

    async def _turn(self, ending: asyncio.Future[Any]) -> None:
        fetched = await self._poll(ending)
        if not fetched:
            await self._tell()
            return
        behind = self._consumer.behind()
        now = asyncio.get_running_loop().time()
        await self._process(fetched)
        if now >= self._told_at + COMMIT_EVERY_S:
            self._told_at = now
            await self._tell()
        if not behind:
            await self._rest(now + self._rest_s, ending)

    async def _tell(self) -> None:
        positions, self._untold = self._untold, {}
        if positions:
            await self._consumer.commit(positions)

    async def stop(self) -> None:
        """Leave the group."""
        await self._consumer.stop()

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Give partitions up between two calls of the step."""
        async with self._busy:
            self._untold.clear()  # whoever has them next tells
            for partition in partitions:
                await self._step.close(partition)

    async def assigned(self, partitions: Sequence[int]) -> None:
        """Seek every partition to the stage's own checkpoint. An error ends the process; it is
        kept for `run`, because whoever calls this would log it and go on."""
        assert self._fatal is not None, "the worker was not started"
        async with self._busy:
            self._suspect.clear()
            self._halted.clear()
            self._rest_s = self._pace_s * stretch(len(partitions), self._partitions)
            try:
                for partition in partitions:
                    await self._open(partition)
                if not self._was_ready:
                    self._was_ready = True
                    self._ready()
            except Exception as error:  # noqa: BLE001 (run raises it)
                if not self._fatal.done():
                    self._fatal.set_exception(error)
                return
        logger.info("reads %s, partitions %s", self._topic, list(partitions))

    async def _open(self, partition: int) -> None:
        try:
            self._consumer.seek(partition, await self._step.open(partition))
        except ChainBroken as broken:
            self._halt(partition, broken)

    async def _poll(self, ending: asyncio.Future[Any]) -> Mapping[int, Sequence[Record]]:
        polling = asyncio.ensure_future(self._consumer.poll(self._records_max))
        try:
            await self._wait(polling, ending)
            return await polling if polling.done() else {}
        finally:
            polling.cancel()

    async def _rest(self, until: float, ending: asyncio.Future[Any]) -> None:
        """`until`: on the loop's clock, in seconds."""
        left_s = until - asyncio.get_running_loop().time()
        if left_s > 0:
            await self._wait(ending, limit_s=left_s)

    async def _wait(self, *futures: asyncio.Future[Any], limit_s: float | None = None) -> None:
        """Until the first of them is done; raises at once what ends the process."""
        assert self._fatal is not None, "the worker was not started"
        either = [*futures, self._fatal]
        await asyncio.wait(either, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        if self._fatal.done():
            self._fatal.result()

    async def _process(self, fetched: Mapping[int, Sequence[Record]]) -> None:
        async with self._busy:
            # A rebalance may have taken partitions away since the poll.
            held = set(self._consumer.assignment()) - self._halted
            records = {p: batch for p, batch in fetched.items() if p in held}
            positions = {p: batch[-1].offset + 1 for p, batch in records.items()}
            reach("after_poll")
            for broken in await self._step.process(records):
                del positions[broken.partition]
                await self._doubt(broken)
            self._untold.update(positions)

    async def _doubt(self, broken: ChainBroken) -> None:
        """Seek back to the checkpoint once: records polled before a rebalance look like a gap."""
        partition = broken.partition
        if self._suspect.get(partition) == broken.expected:
            self._halt(partition, broken)
            return
        self._suspect[partition] = broken.expected
        await self._open(partition)

    async def _reopen(self, gone: OffsetsGone) -> None:
        """The checkpoint says whether what is gone was still needed. A position outside of the
        log may be old, from before a rebalance; the checkpoint's own is a gap."""
        async with self._busy:
            held = set(self._consumer.assignment()) - self._halted
            for partition, offset in sorted(gone.offsets.items()):
                if partition not in held:
                    continue
                try:
                    checkpoint = await self._step.open(partition)
                except ChainBroken as broken:
                    self._halt(partition, broken)
                    continue
                if checkpoint == offset:
                    self._halt(partition, OffsetsGone(gone.topic, {partition: offset}))
                else:
                    self._consumer.seek(partition, checkpoint)

    def _halt(self, partition: int, reason: Exception) -> None:
        logger.error("%s", reason)
        self._halted.add(partition)
        self._consumer.pause(partition)
