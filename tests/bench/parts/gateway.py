"""What the gateway takes: bursts of 100-event requests with the stages after it standing still, and
requests of one event with everything running.
"""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from tests.bench.figures import median
from tests.bench.load import Generator, Order, Posted
from tests.bench.scale import Scale
from tests.bench.site import Site
from tests.bench.stack import STAGES, Usage

_CONNECTIONS = 16
_SINGLE_CONNECTIONS = 64


async def measure_accepted(site: Site, scale: Scale) -> dict[str, Any]:
    """Gateway and Kafka alone. What they took is counted to the last event afterwards."""
    before = await site.drafts.taken()
    runs: list[Posted] = []
    costs: list[dict[str, float]] = []
    async with AsyncExitStack() as entered:
        generators = [
            await entered.enter_async_context(
                Generator(
                    [site.stack.api],
                    site.token,
                    Order(site.shape(), _CONNECTIONS, seconds=scale.accepted_s),
                )
            )
            for _ in range(scale.accepted_bursts)
        ]
        with site.stack.stopped(STAGES):
            for generator in generators:
                usage = Usage(site.stack)
                await generator.go()
                posted = await generator.posted()
                runs.append(posted)
                costs.append(usage.us_per_event(posted.events))
                await asyncio.sleep(0.05)
    await site.settled(before, runs)
    rates = [run.events / run.seconds for run in runs]
    return {
        "figures": {"accepted_per_s": median(rates)},
        "connections": _CONNECTIONS,
        "rates_per_s": rates,
        "cpu_us_per_event_by_process": costs,
        "bursts": [run.summary() for run in runs],
    }


async def measure_single(site: Site, scale: Scale) -> dict[str, Any]:
    """One event a request, all stages running: answers 200 a second."""
    shape = site.shape(batch=1)
    run = await site.drained(Order(shape, _SINGLE_CONNECTIONS, seconds=scale.single_s))
    return {
        "figures": {"single_per_s": run.posted.events / run.posted.seconds},
        "connections": _SINGLE_CONNECTIONS,
        "run": run.summary(),
    }
