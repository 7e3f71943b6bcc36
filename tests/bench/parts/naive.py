"""Tollgate against the naive service on the same machine, by the same generator, in turns.

Tollgate's rate is from the first request to the last draft of a burst, the naive one's from the
first request to the last 200, which is its commit. Each has a PostgreSQL of its own with the same
settings, and both begin with as many events in them. While the naive one works, Tollgate's
processes stand still.
"""

import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.stack.embedded import EmbeddedServers
from services.stack.ports import choose_ports
from tests.bench import children
from tests.bench.database import connected
from tests.bench.figures import median
from tests.bench.load import Order, Posted, post
from tests.bench.processes import cpu_seconds
from tests.bench.scale import Scale
from tests.bench.site import Drained, Site
from tests.bench.stack import STAGES, BenchError

WORKERS = 2  # as many as cores
_TOKEN = "naive"
_CONNECTIONS = 16
# An event at a time, whose ratio is the figure; a request at a time.
_WAYS = ("/v1/ingest_each", "/v1/ingest")
_START_S_MAX = 30.0
_STOP_S_MAX = 10.0
_FILL_S_MAX = 600.0  # tens of millions in the full bench
_FILLERS = 2  # each fills its share of them, for it takes minutes
_SCHEMA = Path(__file__).parent.parent / "naive" / "schema.sql"
# Under ids like those that are posted, so that the index is as large and as scattered.
_FILL = """
INSERT INTO usage_event (transaction_id, customer_id, event_type, occurred_at, properties)
SELECT md5(n::text), 'before', 'before', now(), '{"bytes":"500","region":"region-1"}'
FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS n
"""
_TOTALS = "SELECT metric, sum(total) AS total FROM usage_total GROUP BY 1"


@dataclass(slots=True)
class Naive:
    """The naive service, running."""

    address: tuple[str, int]
    database_url: str
    pid: int
    unique: int = 0
    amount: int = 0

    def roots(self, servers: EmbeddedServers) -> dict[str, int]:
        """Its processes by name."""
        return {"service": self.pid, **servers.processes}


async def measure(site: Site, scale: Scale) -> dict[str, Any]:
    """In turns; the ratio of the medians."""
    ours: list[Drained] = []
    naive_runs: dict[str, list[tuple[Posted, dict[str, float]]]] = {path: [] for path in _WAYS}
    with tempfile.TemporaryDirectory(prefix="tollgate-naive-") as directory:
        async with (
            EmbeddedServers(Path(directory), only=("postgres",)) as servers,
            _running(servers, await site.drafts.taken()) as naive,
        ):
            await _burst(site, naive, servers, 2.0)  # warm
            for _ in range(scale.naive_rounds):
                for path, runs in naive_runs.items():
                    runs.append(await _burst(site, naive, servers, scale.naive_s, path=path))
                order = Order(site.shape(), _CONNECTIONS, seconds=scale.naive_s)
                ours.append(await site.drained(order))
            smaller = [
                await _smaller(site, naive, servers, scale, batch) for batch in scale.naive_batches
            ]
    own = [run.per_s for run in ours]
    each, sets = (_compared(own, naive_runs[path]) for path in _WAYS)
    return {
        "figures": {"naive_ratio": each["ratio"]},
        "workers": WORKERS,
        "connections": _CONNECTIONS,
        "tollgate_per_s": own,
        "tollgate": [run.summary() for run in ours],
        "event_by_event": each,
        "set_based": sets,
        "set_based_smaller_requests": smaller,
    }


def _compared(own: list[float], runs: list[tuple[Posted, dict[str, float]]]) -> dict[str, Any]:
    rates = [posted.events / posted.seconds for posted, _ in runs]
    return {
        "ratio": median(own) / median(rates),
        "per_s": rates,
        "runs": [{**posted.summary(), "cpu_us_per_event_by_process": cpu} for posted, cpu in runs],
    }


def as_table(measured: dict[str, Any]) -> str:
    """Both ways to write the naive service, and Tollgate."""
    rows = [("tollgate, to the draft", median(measured["tollgate_per_s"]), "")]
    for name in ("event_by_event", "set_based"):
        found = measured[name]
        rows.append((f"naive, {name}", median(found["per_s"]), f"{found['ratio']:.1f}"))
    lines = [f"{name:<24} {per_s:>12,.0f} {ratio:>6}" for name, per_s, ratio in rows]
    return "\n".join([f"{'service':<24} {'events/s':>12} {'ratio':>6}", *lines])


async def _smaller(
    site: Site, naive: Naive, servers: EmbeddedServers, scale: Scale, batch: int
) -> dict[str, float]:
    """Both with fewer events a request: what a request costs shows."""
    theirs, _ = await _burst(site, naive, servers, scale.naive_s, batch=batch)
    own = await site.drained(Order(site.shape(batch=batch), _CONNECTIONS, seconds=scale.naive_s))
    per_s = theirs.events / theirs.seconds
    return {
        "events_a_request": batch,
        "naive_per_s": per_s,
        "tollgate_per_s": own.per_s,
        "ratio": own.per_s / per_s,
    }


async def _burst(
    site: Site,
    naive: Naive,
    servers: EmbeddedServers,
    seconds: float,
    *,
    batch: int = 100,
    path: str = "/v1/ingest",
) -> tuple[Posted, dict[str, float]]:
    """One burst, its totals checked to the last event; with CPU by process, of an event."""
    order = Order(site.shape(batch=batch), _CONNECTIONS, seconds=seconds, path=path)
    with site.stack.stopped(("kafka", "gateway", *STAGES)):
        before = cpu_seconds(naive.roots(servers))
        posted = await post(naive.address, _TOKEN, order)
        after = cpu_seconds(naive.roots(servers))
    naive.unique += posted.unique
    naive.amount += posted.amount
    async with connected(naive.database_url) as connection:
        rows = await connection.fetch(_TOTALS)
    found = {row["metric"]: row["total"] for row in rows}
    wanted = {"sum": Decimal(naive.amount), "count": Decimal(naive.unique)}
    if found != wanted:
        raise BenchError(f"the naive service counted {found}, posted were {wanted}")
    return posted, {name: 1e6 * (after[name] - before[name]) / posted.events for name in after}


@asynccontextmanager
async def _running(servers: EmbeddedServers, events: int) -> AsyncIterator[Naive]:
    database_url = servers.database_url
    async with connected(database_url) as connection:
        await connection.execute(_SCHEMA.read_text(encoding="utf-8"))
        await asyncio.gather(*(_fill(database_url, first, events) for first in range(_FILLERS)))
        await connection.execute("VACUUM ANALYZE usage_event", timeout=_FILL_S_MAX)
    port = choose_ports(["naive"], {})["naive"]
    process = await children.start(
        *(sys.executable, "-m", "uvicorn", "tests.bench.naive.service:app"),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)),
        *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
        env={**os.environ, "DATABASE_URL": database_url, "TOKEN": _TOKEN},
        orphan_signal=signal.SIGTERM,  # it ends its workers
    )
    try:
        await _answers(port)
        yield Naive(("127.0.0.1", port), database_url, process.pid)
    finally:
        await children.end(process, _STOP_S_MAX)


async def _fill(database_url: str, first: int, events: int) -> None:
    async with connected(database_url) as connection:
        await connection.execute(_FILL, first, events - 1, _FILLERS, timeout=_FILL_S_MAX)


async def _answers(port: int) -> None:
    deadline = time.monotonic() + _START_S_MAX
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise BenchError("the naive service does not start") from None
            await asyncio.sleep(0.1)
            continue
        writer.close()
        return
