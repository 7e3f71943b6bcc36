"""Delays at 10,000 events a second, open loop: of answers, from when a request was to be sent, and
of drafts, from the 200 of a probe to the draft that shows it. And of drafts on an idle system.
"""

import asyncio
import random
import time
from typing import Any

from tests.bench.figures import percentile, spread
from tests.bench.load import Order
from tests.bench.probes import opened, steady
from tests.bench.scale import Scale
from tests.bench.site import Site, site_on

EVENTS_PER_S = 10_000
_CONNECTIONS = 64
PROBE_CUSTOMERS = 100


async def measure_latency(site: Site, scale: Scale) -> dict[str, Any]:
    """A steady load with probes in it."""
    async with site_on(site.stack, PROBE_CUSTOMERS) as own, opened(own) as probes:
        order = Order(site.shape(), _CONNECTIONS, per_s=EVENTS_PER_S / 100, seconds=scale.latency_s)
        run = await site.drained(order, lambda: steady(probes, scale.probes_per_s, scale.latency_s))
    answers_ms = [us / 1000 for us in run.posted.latencies_us]
    return {
        "figures": {
            "draft_p99_s": percentile(probes.drafts_s, 0.99),
            "answer_p99_ms": percentile(answers_ms, 0.99),
        },
        "offered_per_s": EVENTS_PER_S,
        "drafts_s": spread(probes.drafts_s),
        "drafts_from_due_s": spread(probes.whole_s),
        "answers_ms": spread(answers_ms),
        "probe_answers_ms": spread([s * 1000 for s in probes.answers_s]),
        "load": run.summary(),
        "backlog": [(round(at, 2), events) for at, events in run.backlog],
        "raw_drafts_s": [round(s, 4) for s in probes.drafts_s],
    }


async def measure_idle(site: Site, scale: Scale) -> dict[str, Any]:
    """One event at a time, at moments that keep no step with any poll."""
    async with site_on(site.stack, PROBE_CUSTOMERS) as own, opened(own) as probes:
        chance = random.Random(3)
        for number in range(scale.idle_probes + 1):
            await asyncio.sleep(0.3 + 0.3 * chance.random())
            await probes.send(number, time.monotonic())
            await probes.watch(number + 1)
    delays = probes.drafts_s[1:]  # the first one opens the connection
    return {
        "figures": {"draft_idle_p50_s": percentile(delays, 0.5)},
        "drafts_s": spread(delays),
        "drafts_from_due_s": spread(probes.whole_s[1:]),
        "raw_drafts_s": [round(s, 4) for s in delays],
    }
