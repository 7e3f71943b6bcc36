"""Where pricing runs: on the event loop as long as it is short, else beside it."""

import asyncio
import threading
import time
from decimal import Decimal
from uuid import UUID

from services.domain.pricing.usage import GroupKey, GroupValues, PeriodUsage
from services.projector import beside

METER: tuple[UUID, GroupKey] = (UUID(int=1), ("user",))


def usage(groups: int) -> dict[UUID, PeriodUsage]:
    """Two invoices with so many groups in all."""
    one: dict[GroupValues, Decimal] = {(f"u{number}",): Decimal(1) for number in range(groups - 1)}
    last: dict[GroupValues, Decimal] = {("last",): Decimal(1)}
    return {
        UUID(int=2): PeriodUsage({}, {METER: one}),
        UUID(int=3): PeriodUsage({}, {METER: last}),
    }


def test_a_batch_of_many_groups_leaves_the_loop_to_others() -> None:
    async def scenario() -> None:
        here = threading.current_thread()
        short = await beside.beside(threading.current_thread, usage(beside.LINES_MAX))
        assert short is here
        turns = 0

        def work() -> threading.Thread:
            deadline = time.monotonic() + 60
            while turns < 3 and time.monotonic() < deadline:
                time.sleep(0.001)
            return threading.current_thread()

        long = asyncio.create_task(beside.beside(work, usage(beside.LINES_MAX + 1)))
        while not long.done() and turns < 3:
            await asyncio.sleep(0.001)
            turns += 1
        assert await long is not here
        assert turns == 3

    asyncio.run(scenario())
