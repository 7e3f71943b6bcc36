"""Which parts share a stack, and in which order they run on it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.bench.parts import end_to_end, gateway, latency, naive, redis, replay, warm_start
from tests.bench.report import server_versions
from tests.bench.results import Results
from tests.bench.scale import Scale
from tests.bench.site import site_on
from tests.bench.stack import BenchError, fresh_stack

_CUSTOMERS = 1_000


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that run one after another on one stack."""

    parts: tuple[str, ...]
    run: Callable[[Scale, list[str], Results], Awaitable[None]]


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
                    results.add(name, await measure())
        if "warm_start" in wanted:
            results.add("warm_start", await warm_start.measure(stack, scale))
        try:
            results.verified["main"] = await stack.verify(deep=scale.deep)
        except BenchError:
            results.discard(wanted)
            raise


async def _redis(scale: Scale, _wanted: list[str], results: Results) -> None:
    results.add("redis", await redis.measure(scale))


MAIN = ("end_to_end", "latency", "idle", "replay", "accepted", "single", "naive", "warm_start")
GROUPS = (Group(MAIN, _main), Group(("redis",), _redis))
