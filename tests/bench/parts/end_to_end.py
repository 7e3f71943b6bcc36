"""The rate that is sustained: events a second from the first request to the last draft, with all of
the pipeline, the servers and the generator on this machine, while the backlog does not grow.

A rate is looked for first: a burst in a closed loop shows what drains, short open loops around it
show what is kept up with. Then it is offered in an open loop for the whole time. It is sustained
when all was answered within TAIL_S_MAX of when it was due, the last event is on its draft within
TAIL_S_MAX of its answer, and the backlog has no trend.
"""

import math
from typing import Any

from tests.bench.figures import slope, spread
from tests.bench.load import Order
from tests.bench.scale import Scale
from tests.bench.site import Drained, Site
from tests.bench.stack import NotSustained

TAIL_S_MAX = 2.0
# Of the offered rate: what the backlog may grow by, per second, in the later two thirds.
_TREND_MAX = 0.02
_CONNECTIONS = 64
_BURST_CONNECTIONS = 16
_STEP_UP, _STEP_DOWN = 1.07, 0.95
# What a burst drains in its best case is a little more than what can be kept up with.
_FIRST = 0.95
_SUSTAINED_TRIES = 5


def keeps_up(run: Drained, seconds: float) -> bool:
    """Whether a rate was sustained that was offered for so long."""
    answered = run.posted.seconds <= seconds + TAIL_S_MAX
    return answered and run.tail_s <= TAIL_S_MAX and trend(run) <= _TREND_MAX


def trend(run: Drained) -> float:
    """How fast the backlog grew in the later two thirds, as a share of the rate."""
    span = run.posted.seconds
    if span < 10:  # the saw-tooth of ranges and flushes is longer than any trend in it
        return 0.0
    later = [(at, float(events)) for at, events in run.backlog if at > span / 3]
    return slope(later) * span / run.posted.events


async def warm_up(site: Site, seconds: float) -> Drained:
    """Kafka's JVM compiles, connections are made, series and drafts exist."""
    run = await site.drained(Order(site.shape(), _BURST_CONNECTIONS, seconds=seconds))
    await site.stack.quiet()
    return run


async def measure(site: Site, scale: Scale) -> dict[str, Any]:
    """Find the rate and sustain it."""
    await warm_up(site, scale.warm_up_s)
    burst = await site.drained(Order(site.shape(), _BURST_CONNECTIONS, seconds=scale.trial_s))
    rate = burst.per_s * _FIRST
    tried: list[dict[str, Any]] = []

    async def offer(per_s: float, seconds: float) -> Drained:
        order = Order(site.shape(), _CONNECTIONS, per_s=per_s / 100, seconds=seconds)
        run = await site.drained(order)
        tried.append(
            {
                "offered_per_s": per_s,
                "seconds": run.posted.seconds,
                "reached_per_s": run.per_s,
                "last_answer_to_last_draft_s": run.tail_s,
                "statuses": run.posted.statuses,
                "answers_ms": spread([us / 1000 for us in run.posted.latencies_us]),
                "cores_busy_with_other_work": run.others_cores,
                "backlog_trend": trend(run),
                "kept_up": keeps_up(run, seconds),
            }
        )
        return run

    kept: float | None = None
    for _ in range(scale.trials_max):
        run = await offer(rate, scale.trial_s)
        if keeps_up(run, scale.trial_s):
            kept = rate
            rate *= _STEP_UP
        else:
            rate = lower(rate, run)
            if kept is not None:
                break
    rate = kept or rate
    for _ in range(_SUSTAINED_TRIES):
        run = await offer(rate, scale.sustained_s)
        if keeps_up(run, scale.sustained_s):
            return _result(site, rate, run, burst, tried)
        rate = lower(rate, run)
    raise NotSustained(f"no rate was sustained, tried were {tried}")


def lower(rate: float, run: Drained) -> float:
    """The next rate to try after one that was not kept up with: between it and what was reached,
    because a backlog that is drained makes larger ranges than a rate that is kept up with."""
    return math.sqrt(rate * min(rate, run.per_s)) * _STEP_DOWN


def _result(
    site: Site, rate: float, run: Drained, burst: Drained, tried: list[dict[str, Any]]
) -> dict[str, Any]:
    memory = site.stack.memory()
    python = {name: size for name, size in memory.items() if name not in _NOT_PYTHON}
    return {
        "figures": {
            "end_to_end_per_s": run.per_s,
            "cpu_us_per_event": sum(run.cpu_us.values()),
            "resident_gb": sum(python.values()) / 1e9,
        },
        "offered_per_s": rate,
        "sustained": {**run.summary(), "backlog_trend": trend(run)},
        "backlog": [(round(at, 2), events) for at, events in run.backlog],
        "backlog_events": spread([float(events) for _, events in run.backlog]),
        "burst": burst.summary(),
        "tried": tried,
        "memory_pss_mb": {name: size / 1e6 for name, size in memory.items()},
    }


_NOT_PYTHON = {"kafka", "redis", "postgres"}
