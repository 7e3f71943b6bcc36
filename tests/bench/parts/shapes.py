"""Other shapes of load: a burst of each on one stack, one thing changed at a time.

Bursts are of so many events, and few: each is folded again by `verify --deep`, which asks every
metric of every shape about it.
"""

from typing import Any

from tests.bench.load import Order
from tests.bench.scale import Scale
from tests.bench.site import site_on
from tests.bench.stack import Stack

_CONNECTIONS = 16
# So that series and drafts exist before: some of each customer.
_WARM_EVENTS = 20_000
_REQUESTS_MAX = 10_000  # those of one event take four seconds

Fields = dict[str, Any]
# Name -> customers, metrics, and what differs in the events.
SHAPES: dict[str, tuple[int, int, Fields]] = {
    "1,000 customers, 2 metrics, 1 %": (1_000, 2, {}),
    "1 KB an event": (1_000, 2, {"padding": 820}),
    "one customer has half": (1_000, 2, {"skew": 0.5}),
    "no duplicates": (1_000, 2, {"duplicates": 0}),
    "20 % duplicates": (1_000, 2, {"duplicates": 20}),
    "10 customers": (10, 2, {}),
    "10,000 customers": (10_000, 2, {}),
    "1 metric": (1_000, 1, {}),
    "10 metrics": (1_000, 10, {}),
    "1 event a request": (1_000, 2, {"batch": 1}),
    "10 events a request": (1_000, 2, {"batch": 10}),
}


async def measure(stack: Stack, scale: Scale) -> dict[str, Any]:
    """Every shape, the first one once before, for the servers to get warm."""
    rows: dict[str, Any] = {}
    for name, (customers, metrics, fields) in [next(iter(SHAPES.items())), *SHAPES.items()]:
        async with site_on(stack, customers, metrics=metrics) as site:
            for events in (_WARM_EVENTS, scale.shape_events):
                shape = site.shape(**fields)
                count = min(events // shape.batch, _REQUESTS_MAX)
                run = await site.drained(Order(shape, _CONNECTIONS, count=count))
            rows[name] = run.summary()
    return {"rows": rows}


def as_table(measured: dict[str, Any]) -> str:
    """For the terminal."""
    lines = [f"{'shape':<34} {'bytes':>7} {'accepted/s':>11} {'to drafts/s':>11} {'CPU us':>8}"]
    lines += [
        f"{name:<34} {row['event_bytes']:>7.0f} {row['accepted_per_s']:>11,.0f}"
        f" {row['end_to_end_per_s']:>11,.0f} {row['cpu_us_per_event']:>8.1f}"
        for name, row in measured["rows"].items()
    ]
    return "\n".join(lines)
