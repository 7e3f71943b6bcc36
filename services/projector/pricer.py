"""Pricing of stale drafts. Runs beside the projection; its own transaction, never the flush's.

Order of effects: 1. take marks; 2. lock the invoices in order of id; 3. read the totals, which now
hold at least everything that was marked; 4. lock the grants of customers that have any, and read
what is left of them; 5. price; 6. write, and mark the later drafts whose credits changed with it. A
crash leaves the marks.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from services.projector.beside import beside
from services.projector.drafts import DraftBatch, Drafts
from services.projector.pricing import price_all
from services.runtime.failpoint import reach

logger = logging.getLogger(__name__)

# Marks a transaction: enough to spread its cost, few enough to hold locks for moments only.
MARKS_MAX = 2_000
# Pricing begins at once when there was nothing to do; after a pass it rests for half as long as the
# pass took, so that those who count have their turn. More rest is cheaper, and staler: twice as
# long a rest as the pass takes 2 us off an event and puts half a second on the age of a draft.
REST_FACTOR = 0.5
REST_S_MAX = 0.25
# Marks made by the API are found this soon; flushes wake the pricing themselves.
IDLE_WAIT_S = 0.1
# Of several pricers one is at work: the customers of their flushes are the same, so each would take
# fewer marks a pass and wait for drafts that another has. The others look this often whether it is
# their turn (more often, and they take it whenever the one rests), and after so long they do
# without: whoever has it may stand still.
TURN_LOOK_S = 1.0
TURN_WAIT_S_MAX = 3.0
# New months and plans that start in the future are looked for this often.
OPEN_PERIODS_EVERY_S = 60.0


def rest_after(pass_s: float) -> float:
    """How long to leave the machine to others after a pass that took so long, in seconds."""
    return min(REST_FACTOR * pass_s, REST_S_MAX)


class Pricer:
    """The loop that keeps drafts fresh."""

    def __init__(self, drafts: Drafts, now: Callable[[], datetime]) -> None:
        self._drafts = drafts
        self._now = now
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Usage was applied: price it now."""
        self._woken.set()

    async def run(self) -> None:
        """Price for ever."""
        loop = asyncio.get_running_loop()
        opened_at = -OPEN_PERIODS_EVERY_S
        alone_until = loop.time() + TURN_WAIT_S_MAX
        while True:
            if loop.time() - opened_at >= OPEN_PERIODS_EVERY_S:
                await self._drafts.open_periods(self._now())
                opened_at = loop.time()
            self._woken.clear()
            began = loop.time()
            taken = await self.price_stale(alone=began < alone_until)
            if taken is None:
                await asyncio.sleep(TURN_LOOK_S)
                continue
            ended = loop.time()
            # A full pass leaves something over: then there is work for all.
            alone_until = ended if taken >= MARKS_MAX else ended + TURN_WAIT_S_MAX
            if taken == 0:
                await self._idle()
            else:
                await asyncio.sleep(rest_after(ended - began))

    async def price_stale(self, *, alone: bool = False) -> int | None:
        """Price one batch; returns how many marks it took, or None where it was to be `alone` and
        is not."""
        async with self._drafts.take(MARKS_MAX, self._now(), alone=alone) as batch:
            if batch is None:
                return None
            if batch.drafts:
                await self._price(batch)
                reach("before_pricing_commit")
        if batch.drafts:
            reach("after_pricing_commit")
        return batch.taken

    async def _price(self, batch: DraftBatch) -> None:
        quantities = await batch.quantities()
        credits_left = await batch.credits(quantities)
        work = partial(price_all, batch.drafts, quantities, credits_left)
        async with batch.held():
            priced = await beside(work, quantities)
        await batch.write(priced, self._now())

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(IDLE_WAIT_S):
                await self._woken.wait()
        except TimeoutError:
            return
