"""From `tollgate up` on a data directory that was used before to "ready", after an orderly stop.

The figure is that of a Tollgate with some hundred thousand events in it. With all that the other
parts posted it takes longer: Redis reads its ids back first.
"""

from typing import Any

from tests.bench.figures import median
from tests.bench.parts.end_to_end import warm_up
from tests.bench.scale import Scale
from tests.bench.site import site_on
from tests.bench.stack import Stack

_CUSTOMERS = 10


async def measure(stack: Stack, scale: Scale) -> dict[str, Any]:
    """Some events, then stop and start again."""
    first_s = stack.start_s
    async with site_on(stack, _CUSTOMERS) as site:
        events = (await warm_up(site, scale.warm_up_s)).posted.events
    seconds = [await _again(stack) for _ in range(scale.warm_starts)]
    return {
        "figures": {"warm_start_s": median(seconds)},
        "seconds": seconds,
        "events": events,
        "first_start_s": first_s,
    }


async def measure_full(stack: Stack) -> dict[str, Any]:
    """Once more, with the log of all other parts."""
    return {"after_all_parts_s": await _again(stack)}


async def _again(stack: Stack) -> float:
    await stack.stop()
    await stack.start()
    return stack.start_s
