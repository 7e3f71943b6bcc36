"""Other shapes of load: a burst of each on one stack, one thing changed at a time.

Bursts are of so many events, and few: `verify --deep` folds each again and asks every metric of the
stack about it. For that, what only changes the events goes to the same customers and metrics.
"""

from typing import Any

from tests.bench.load import Order
from tests.bench.scale import Scale
from tests.bench.site import Site, site_on
from tests.bench.stack import Stack

_CONNECTIONS = 16
# So that series and drafts exist before, and servers are warm.
_WARM_EVENTS = 40_000
_REQUESTS_MAX = 10_000  # those of one event take three seconds

Fields = dict[str, Any]
# Customers and metrics -> name -> what differs in the events. Those with many metrics last: no
# event that was posted before is asked about them.
SHAPES: dict[tuple[int, int], dict[str, Fields]] = {
    (1_000, 2): {
        "1,000 customers, 2 metrics, 1 %": {},
        "1 KB an event": {"padding": 820},
        "one customer has half": {"skew": 0.5},
        "no duplicates": {"duplicates": 0},
        "20 % duplicates": {"duplicates": 20},
        "1 event a request": {"batch": 1},
        "10 events a request": {"batch": 10},
    },
    (10, 2): {"10 customers": {}},
    (10_000, 2): {"10,000 customers": {}},
    (1_000, 1): {"1 metric": {}},
    (1_000, 10): {"10 metrics": {}},
}


async def measure(stack: Stack, scale: Scale) -> dict[str, Any]:
    """Every shape, each on customers that have been posted to before."""
    rows: dict[str, Any] = {}
    for (customers, metrics), shapes in SHAPES.items():
        async with site_on(stack, customers, metrics=metrics) as site:
            await _burst(site, {}, _WARM_EVENTS)
            for name, fields in shapes.items():
                rows[name] = await _burst(site, fields, scale.shape_events)
    return {"rows": rows}


async def _burst(site: Site, fields: Fields, events: int) -> dict[str, Any]:
    shape = site.shape(**fields)
    count = min(events // shape.batch, _REQUESTS_MAX)
    run = await site.drained(Order(shape, _CONNECTIONS, count=count))
    return run.summary()


def as_table(measured: dict[str, Any]) -> str:
    """For the terminal."""
    lines = [f"{'shape':<34} {'bytes':>7} {'accepted/s':>11} {'to drafts/s':>11} {'CPU us':>8}"]
    lines += [
        f"{name:<34} {row['event_bytes']:>7.0f} {row['accepted_per_s']:>11,.0f}"
        f" {row['end_to_end_per_s']:>11,.0f} {row['cpu_us_per_event']:>8.1f}"
        for name, row in measured["rows"].items()
    ]
    return "\n".join(lines)
