"""Which parts share a stack, and in which order they run on it.

A part that fails or takes too long leaves the others their figures: its stack is verified as it is,
and the parts after it have another one. What a stack measured that verify does not find in order
is no figure.
"""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.bench.parts import (
    end_to_end,
    freshness,
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
from tests.bench.stack import BenchError, NotSustained, Stack, fresh_stack

# Twice what the longest part takes on two cores.
PART_S_MAX = 1_800.0
_CUSTOMERS = 1_000

Measured = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that run one after another on one stack."""

    parts: tuple[str, ...]
    run: Callable[[Scale, list[str], Results], Awaitable[None]]


@asynccontextmanager
async def counted(
    name: str, parts: list[str], results: Results, *, deep: bool
) -> AsyncIterator[Stack]:
    """A stack on which `parts` are measured: without verify's word at its end, none has figures."""
    verified = False
    try:
        async with fresh_stack() as stack:
            yield stack
            began = time.monotonic()
            with results.timing(f"verify {name}"):
                said = await stack.verify(deep=deep)
            verified = True
            results.verified[name] = f"{said} ({time.monotonic() - began:.0f} s)"
            print(f"verify: {results.verified[name]}", flush=True)
    finally:
        if not verified:
            results.discard(parts)


async def measured(
    name: str, measure: Callable[[], Awaitable[Measured]], results: Results
) -> Measured:
    """A part, and what it found is a result."""
    found = await bounded(name, measure, results)
    results.add(name, found)
    return found


async def bounded(
    name: str, measure: Callable[[], Awaitable[Measured]], results: Results
) -> Measured:
    """A part, timed and not for ever; raises BenchError when it takes too long."""
    with results.timing(name):
        try:
            async with asyncio.timeout(PART_S_MAX) as limit:
                return await measure()
        except TimeoutError:
            if limit.expired():
                raise BenchError(f"{name} was not measured within {PART_S_MAX:.0f} s") from None
            raise


async def _main(scale: Scale, wanted: list[str], results: Results) -> None:
    left = wanted
    for number in range(len(wanted)):
        tried: list[str] = []
        try:
            name = f"main {number + 1}" if number else "main"
            async with counted(name, tried, results, deep=False) as stack:
                await _on_one_stack(stack, scale, left, tried, results)
        except Exception as error:  # noqa: BLE001 (those that are left have another stack)
            traceback.print_exc()
            results.failed(f"the stack of {', '.join(tried or left)}", error)
        left = [part for part in left if part not in tried]
        if not tried or not left:
            return


async def _on_one_stack(
    stack: Stack, scale: Scale, wanted: list[str], tried: list[str], results: Results
) -> None:
    """Until one fails; `tried` is what has had its turn then. Nothing here needs a deep verify,
    which takes twice as long as the counting: the drafts were compared."""
    results.servers |= await server_versions(stack)
    if "warm_start" in wanted:
        tried.append("warm_start")
        if not await _goes_on("warm_start", lambda: warm_start.measure(stack, scale), results):
            return
    async with site_on(stack, _CUSTOMERS) as site:
        measures: dict[str, Callable[[], Awaitable[Measured]]] = {
            "end_to_end": lambda: end_to_end.measure(site, scale),
            "latency": lambda: latency.measure_latency(site, scale),
            "idle": lambda: latency.measure_idle(site, scale),
            "replay": lambda: replay.measure(site, scale, results),
            "accepted": lambda: gateway.measure_accepted(site, scale),
            "single": lambda: gateway.measure_single(site, scale),
            "naive": lambda: naive.measure(site, scale),
        }
        if set(wanted) & set(measures) and "end_to_end" not in wanted:
            await end_to_end.warm_up(site, scale.warm_up_s)
        for name in [name for name in measures if name in wanted]:
            tried.append(name)
            if not await _goes_on(name, measures[name], results):
                return
    if "naive" in results.parts and "naive" in tried:
        results.tables["naive"] = "the naive service", naive.as_table(results.parts["naive"])
    if "warm_start" in wanted and not scale.quick:
        with results.timing("warm_start"):
            results.parts["warm_start"] |= await warm_start.measure_full(stack)


async def _goes_on(name: str, measure: Callable[[], Awaitable[Measured]], results: Results) -> bool:
    """Measure a part; whether the stack is good for more."""
    try:
        await measured(name, measure, results)
    except NotSustained as error:  # the count is right all the same
        results.failed(name, error)
    except Exception as error:  # noqa: BLE001 (it leaves the others their figures)
        traceback.print_exc()
        results.failed(name, error)
        return False
    return True


async def _growth(scale: Scale, wanted: list[str], results: Results) -> None:
    async with counted("growth", wanted, results, deep=False) as stack:
        await measured("growth", lambda: growth.measure(stack, scale), results)


async def _freshness(scale: Scale, wanted: list[str], results: Results) -> None:
    async with counted("freshness", wanted, results, deep=False) as stack:
        found = await measured("freshness", lambda: freshness.measure(stack, scale), results)
        heading = f"drafts kept fresh at {freshness.EVENTS_PER_S:,} events/s"
        results.tables["freshness"] = heading, freshness.as_table(found)


async def _shapes(scale: Scale, wanted: list[str], results: Results) -> None:
    async with counted("shapes", wanted, results, deep=True) as stack:
        found = await measured("shapes", lambda: shapes.measure(stack, scale), results)
        results.tables["shapes"] = "shapes of load, a burst each", shapes.as_table(found)


async def _scaling(scale: Scale, wanted: list[str], results: Results) -> None:
    rows: list[Measured] = []
    try:
        for workers in (1, 2, 4):
            async with counted(f"scaling {workers}", wanted, results, deep=True) as stack:
                found = await bounded(
                    "scaling", partial(scaling.measure, stack, scale, workers), results
                )
            rows.append(found)
    finally:  # with those that were verified
        if rows:
            results.add("scaling", {"rows": rows})
            results.tables["scaling"] = "workers a stage", scaling.as_table(rows)


async def _redis(scale: Scale, _wanted: list[str], results: Results) -> None:
    await measured("redis", lambda: redis.measure(scale), results)


MAIN = ("warm_start", "end_to_end", "latency", "idle", "replay", "accepted", "single", "naive")
GROUPS = (
    Group(MAIN, _main),
    Group(("redis",), _redis),
    Group(("growth",), _growth),
    Group(("freshness",), _freshness),
    Group(("shapes",), _shapes),
    Group(("scaling",), _scaling),
)
# They give no figure of the table, so the quick bench leaves them out.
ONLY_FULL = {"freshness", "shapes", "scaling"}
