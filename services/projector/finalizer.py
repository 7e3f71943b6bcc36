"""Finalizes invoices when their time has come, and notes what comes too late for them. Runs beside
the pricing, in transactions of its own; time is handed in.

Order of effects, of some invoices: 1. lock them, their customers and their plans; 2. take a
snapshot, which has positions and usage of one instant; 3. leave all as they are where a position is
not past the end of the grace; 4. price; 5. write, with the status. One transaction: a crash leaves
drafts. What makes a draft final is decided in `services.domain.invoice_life`.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from services.domain.invoice_life import finality
from services.projector.finals import Due, Finals
from services.runtime.log import RAW, Log

logger = logging.getLogger(__name__)

# Between two looks for what is due or late: each is one probe of an index.
LOOK_EVERY_S = 0.5
# After a look that found drafts which have to wait: for a partition that is behind, or for a change
# of their customer that pricing has not seen yet.
BEHIND_S = 10.0
HELD_S = 1.0
# After each transaction as long a rest as it took: on the 1st of a month, counting goes on.
REST_FACTOR = 1.0
# Instants whose offsets are kept: plans may end on any day of the months that are billed back.
_INSTANTS_MAX = 1_000


class Finalizer:
    """The loop that ends the life of drafts."""

    def __init__(
        self,
        finals: Finals,
        log: Log,
        now: Callable[[], datetime],
        *,
        grace: timedelta,
        partitions: int,
    ) -> None:
        self._finals = finals
        self._log = log
        self._now = now
        self._grace = grace
        self._partitions = partitions
        self._offsets: dict[datetime, Mapping[int, int]] = {}

    async def run(self) -> None:
        """Look for ever."""
        loop = asyncio.get_running_loop()
        looks_at = loop.time()
        while True:
            await self.compare_late()
            if loop.time() >= looks_at:
                looks_at = loop.time() + await self.finalize_due()
            await asyncio.sleep(LOOK_EVERY_S)

    async def finalize_due(self) -> float:
        """Finalize everything whose time has come; returns for how many seconds there is no use in
        looking again."""
        now, end = self._now(), None
        behind = False
        while (end := await self._finals.next_end(end, now - self._grace)) is not None:
            due = Due(now, end + self._grace)
            offsets = await self._offsets_at(due.due_at)
            found = finality(end, now, await self._finals.positions(), offsets, self._grace)
            if found.reached:
                await self._finalize(end, offsets, due)
            else:
                logger.warning(
                    "invoices up to %s wait: usage up to %s is not counted in partitions %s yet",
                    end,
                    due.due_at,
                    list(found.partitions_behind),
                )
                behind = True
        if behind:
            return BEHIND_S
        held = await self._finals.next_end(None, now - self._grace) is not None
        return HELD_S if held else 0

    async def compare_late(self) -> None:
        """Compare every finalized invoice whose usage has moved."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            if await self._finals.compare_late(self._now()) == 0:
                return
            await asyncio.sleep(REST_FACTOR * (loop.time() - began))

    async def _finalize(self, end: datetime, offsets: Mapping[int, int], due: Due) -> None:
        loop = asyncio.get_running_loop()
        count, last = 0, None
        while True:
            began = loop.time()
            done = await self._finals.finalize(end, last, offsets, due)
            count, last = count + done.finalized, done.last
            if last is None:
                break
            await asyncio.sleep(REST_FACTOR * (loop.time() - began))
        if count:
            logger.info("%s invoices of periods up to %s are final", count, end)

    async def _offsets_at(self, instant: datetime) -> Mapping[int, int]:
        """By partition, the first raw offset of that instant or later, else the end; asked once: it
        is past, so what the log takes from now on lies beyond."""
        found = self._offsets.get(instant)
        if found is None:
            if len(self._offsets) >= _INSTANTS_MAX:
                self._offsets.clear()
            at_ms = int(instant.timestamp() * 1_000)
            found = {
                partition: await self._log.offset_at(RAW, partition, at_ms)
                for partition in range(self._partitions)
            }
            self._offsets[instant] = found
        return found
