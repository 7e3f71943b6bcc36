"""Which parts share a stack, and in which order they run on it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.parts import (
    end_to_end,
    gateway,
    growth,
    latency,
    naive,
    redis,
    replay,
    scaling,
    shapes,
    warm_start,
)
from tests.bench.report import server_versions
from tests.bench.results import Results
from tests.bench.scale import Scale
from tests.bench.site import site_on
from tests.bench.stack import NotSustained, Stack, fresh_stack

_CUSTOMERS = 1_000


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that run one after another on one stack."""

    parts: tuple[str, ...]
    run: Callable[[Scale, list[str], Results], Awaitable[None]]
    verifies: bool = True


async def _main(scale: Scale, wanted: list[str], results: Results) -> None:
    async with fresh_stack() as stack:
        results.servers |= await server_versions(stack)
        async with site_on(stack, _CUSTOMERS) as site:
            measures: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
                "end_to_end": lambda: end_to_end.measure(site, scale),
                "latency": lambda: latency.measure_latency(site, scale),
                "idle": lambda: latency.measure_idle(site, scale),
                "replay": lambda: replay.measure(site, scale, results),
                "accepted": lambda: gateway.measure_accepted(site, scale),
                "single": lambda: gateway.measure_single(site, scale),
                "naive": lambda: naive.measure(site, scale),
            }
            if "end_to_end" not in wanted:
                await end_to_end.warm_up(site, scale.warm_up_s)
            for name, measure in measures.items():
                if name in wanted:
                    try:
                        results.add(name, await measure())
                    except NotSustained as error:
                        results.failed(name, error)
        if "warm_start" in wanted:
            results.add("warm_start", await warm_start.measure(stack, scale))
        await _verify(stack, scale, "main", results)


async def _verify(stack: Stack, scale: Scale, name: str, results: Results) -> None:
    began = time.monotonic()
    said = await stack.verify(deep=scale.deep)
    results.verified[name] = f"{said} ({time.monotonic() - began:.0f} s)"
    print(f"verify: {results.verified[name]}", flush=True)


async def _growth(scale: Scale, _wanted: list[str], results: Results) -> None:
    async with fresh_stack() as stack:
        results.add("growth", await growth.measure(stack, scale))
        # Not deep: it takes as long again for ten million events, and the drafts were compared.
        results.verified["growth"] = await stack.verify(deep=False)


async def _shapes(scale: Scale, _wanted: list[str], results: Results) -> None:
    async with fresh_stack() as stack:
        measured = await shapes.measure(stack, scale)
        results.add("shapes", measured)
        results.tables["shapes of load, a burst each"] = shapes.as_table(measured)
        await _verify(stack, scale, "shapes", results)


async def _scaling(scale: Scale, _wanted: list[str], results: Results) -> None:
    rows = []
    for workers in (1, 2, 4):
        async with fresh_stack() as stack:
            rows.append(await scaling.measure(stack, scale, workers))
            await _verify(stack, scale, f"scaling {workers}", results)
    results.add("scaling", {"rows": rows})
    results.tables["workers a stage"] = scaling.as_table(rows)


async def _redis(scale: Scale, _wanted: list[str], results: Results) -> None:
    results.add("redis", await redis.measure(scale))


MAIN = ("end_to_end", "latency", "idle", "replay", "accepted", "single", "naive", "warm_start")
GROUPS = (
    Group(MAIN, _main),
    Group(("redis",), _redis, verifies=False),
    Group(("growth",), _growth),
    Group(("shapes",), _shapes),
    Group(("scaling",), _scaling),
)
# They give no figure of the table, so the quick bench leaves them out.
ONLY_FULL = {"shapes", "scaling"}
