"""Pricing of very many lines beside the event loop, which counting shares: a minute of it
would stop all counting, and `runtime/process` ends a stage whose loop stands still.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar
from uuid import UUID

from services.domain.pricing.usage import PeriodUsage

# A few tenths of a second; usual batches stay below it and pay for no thread.
LINES_MAX = 20_000

_Result = TypeVar("_Result")


async def beside(work: Callable[[], _Result], usage: Mapping[UUID, PeriodUsage]) -> _Result:
    """The result of `work`, which must touch nothing that the loop changes. `usage`: what it
    prices; in a thread where that has more than LINES_MAX groups."""
    groups = sum(len(each) for period in usage.values() for each in period.groups.values())
    return await asyncio.to_thread(work) if groups > LINES_MAX else work()
