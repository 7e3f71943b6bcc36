"""More workers of each stage on the same servers: what an event costs then, and that partitions can
change hands under load without a gap. On one machine there are no more cores for them, so the cost
of an event is what is looked at.

At a fixed rate above all. A burst tells less: its cost depends on how far the stages fall behind
the gateway, because a backlog makes large ranges, and more workers have more of the cores.
"""

import asyncio
from dataclasses import replace
from typing import Any

from tests.bench.load import Order
from tests.bench.parts.end_to_end import warm_up
from tests.bench.parts.latency import measure_latency
from tests.bench.scale import Scale
from tests.bench.site import Site, site_on
from tests.bench.stack import STAGES, Stack

_CONNECTIONS = 16
_REBALANCED_SHARE = 0.3  # of what a burst drains: starting workers takes CPU too


async def measure(stack: Stack, scale: Scale, workers: int) -> dict[str, Any]:
    """A steady load and a burst with so many workers a stage; before they come under load, and
    after they go."""
    async with site_on(stack, 1_000) as site:
        before = await warm_up(site, scale.warm_up_s)
        rate = before.per_s * _REBALANCED_SHARE

        async def come() -> int:
            for number in range(2, workers + 1):
                for stage in STAGES:
                    await stack.add_worker(stage, number)
                port = await stack.add_worker("gateway", number)
                site.more_gateways.append(("127.0.0.1", port))
            return 0

        async def go() -> int:
            await asyncio.sleep(scale.scaling_s / 4)
            site.more_gateways.clear()
            await stack.end_workers()
            return 0

        coming = asyncio.ensure_future(come())
        joined = await _under_load(site, scale, rate, coming)
        steady = await measure_latency(site, replace(scale, latency_s=scale.scaling_s))
        burst = await site.drained(Order(site.shape(), _CONNECTIONS, seconds=scale.scaling_s / 2))
        site.more_gateways.clear()
        left = await _under_load(site, scale, rate, asyncio.ensure_future(go()))
    return {
        "workers": workers,
        "steady": steady,
        "burst": burst.summary(),
        "joined_under_load": joined,
        "left_under_load": left,
    }


async def _under_load(
    site: Site, scale: Scale, rate: float, change: "asyncio.Future[int]"
) -> dict[str, float]:
    """Post while workers come or go; every event must be counted once nevertheless."""
    order = Order(site.shape(), 64, per_s=rate / 100, seconds=scale.scaling_s)
    before = await site.drafts.taken()
    posted = await site.posted(order)
    await change
    settled_s = await site.drafts.settled(before + posted.events, 600.0)
    await site.count(posted)
    return {
        "events": posted.events,
        "last_answer_to_last_draft_s": settled_s - posted.last_answer_s,
    }


def as_table(rows: list[dict[str, Any]]) -> str:
    """For the terminal."""
    lines = [
        f"{'workers':>7} {'CPU us':>7} {'draft p50':>9} {'p99, s':>7} {'burst/s':>9} {'CPU us':>7}"
        f" {'joined, s':>10} {'left, s':>8}"
    ]
    lines += [
        f"{row['workers']:>7} {row['steady']['load']['cpu_us_per_event']:>7.1f}"
        f" {row['steady']['drafts_s']['p50']:>9.2f} {row['steady']['drafts_s']['p99']:>7.2f}"
        f" {row['burst']['end_to_end_per_s']:>9,.0f} {row['burst']['cpu_us_per_event']:>7.1f}"
        f" {row['joined_under_load']['last_answer_to_last_draft_s']:>10.1f}"
        f" {row['left_under_load']['last_answer_to_last_draft_s']:>8.1f}"
        for row in rows
    ]
    return "\n".join(lines)
