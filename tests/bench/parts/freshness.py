"""What it costs to keep drafts fresh, and how fresh they are: few customers and many, on the first
day of a month and on its last, when the month holds hours already. The same rate is offered to all.

Single events on customers of their own, with as many hours behind them, are watched to their
drafts. CPU is that of the projector, which prices, and of its PostgreSQL; how much is read for a
draft is counted by PostgreSQL itself.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg

from tests.bench.database import connected
from tests.bench.figures import spread
from tests.bench.load import Order
from tests.bench.parts.end_to_end import warm_up
from tests.bench.parts.growth import span
from tests.bench.parts.latency import PROBE_CUSTOMERS
from tests.bench.probes import opened, steady
from tests.bench.scale import Scale
from tests.bench.site import Site, site_on
from tests.bench.stack import Stack

EVENTS_PER_S = 2_000
# An event is on its draft so long after its 200, in 99 of 100 cases.
MUST_S = 1.0
_CONNECTIONS = 64
_BURST_CONNECTIONS = 16
# Before the first day is measured: series and drafts exist then.
_WARM_EVENTS_MIN = 20_000
# Rows that an index found: of month totals and of hours, for pricing and for adding to them.
_READ = """
SELECT relname, sum(idx_tup_read)::bigint AS found FROM pg_stat_user_indexes
WHERE relname IN ('usage_month', 'usage_hour') GROUP BY 1
"""
_PRICED = "SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'invoice'"
_HOURS = """
SELECT count(DISTINCT (s.reference, u.starts_at))
FROM usage_hour u JOIN usage_series s ON s.id = u.series_id WHERE s.reference LIKE $1
"""


async def measure(stack: Stack, scale: Scale) -> dict[str, Any]:
    """Each number of customers, on two days."""
    days = span(datetime.now(UTC))
    async with site_on(stack, 10) as small:
        await warm_up(small, scale.warm_up_s)
    rows = []
    for customers, backfill in scale.fresh:
        async with (
            site_on(stack, customers, starting_on=days.month) as site,
            site_on(stack, PROBE_CUSTOMERS, starting_on=days.month) as own,
            connected(stack.database_url) as connection,
        ):
            # Also the probes' customers, so that none of theirs is a first event.
            warm = max(customers, _WARM_EVENTS_MIN)
            await _post(site, days.day(0.0), warm)
            await _post(own, days.day(0.0), PROBE_CUSTOMERS * 10)
            rows.append(
                await _steady(site, own, connection, scale, name="first", day=days.day(0.0))
            )
            await _post(site, days.between(), backfill)
            await _post(own, days.between(), backfill * PROBE_CUSTOMERS // customers)
            rows.append(await _steady(site, own, connection, scale, name="last", day=days.day(1.0)))
    return {
        "offered_per_s": EVENTS_PER_S,
        "must_s": MUST_S,
        "timestamps": {"first": days.day(0.0), "last": days.day(1.0)},
        "met": all(row["met"] for row in rows),
        "rows": rows,
    }


async def _post(site: Site, within: tuple[str, str], events: int) -> None:
    """As fast as it is taken. Requests repeat their timestamps after two events a customer, so each
    load is as long as that, and of other hours than the one before."""
    chunk = max(_WARM_EVENTS_MIN, 2 * site.catalog.customers)
    before = await site.drafts.taken()
    posted = []
    for seed, first in enumerate(range(0, events, chunk)):
        shape = site.shape(first_at=within[0], last_at=within[1], seed=seed)
        count = -(-min(chunk, events - first) // shape.batch)
        posted.append(await site.posted(Order(shape, _BURST_CONNECTIONS, count=count)))
    await site.settled(before, posted)


async def _steady(
    site: Site,
    own: Site,
    connection: asyncpg.Connection,
    scale: Scale,
    *,
    name: str,
    day: tuple[str, str],
) -> dict[str, Any]:
    """The steady load of a day, with probes beside it."""
    hours = await connection.fetchval(_HOURS, f"{site.catalog.prefix}%")
    shape = site.shape(first_at=day[0], last_at=day[1])
    order = Order(shape, _CONNECTIONS, per_s=EVENTS_PER_S / shape.batch, seconds=scale.fresh_s)
    within = datetime.fromisoformat(day[0]), datetime.fromisoformat(day[1])
    before = await _counted(connection)
    async with opened(own, within) as probes:
        run = await site.drained(order, lambda: steady(probes, scale.probes_per_s, scale.fresh_s))
    after = await _counted(connection)
    used = {key: after[key] - before[key] for key in after}
    drafts_s = spread(probes.drafts_s)
    cpu_us = run.cpu_us
    return {
        "customers": site.catalog.customers,
        "day": name,
        "hours_a_customer": hours / site.catalog.customers,
        "drafts_s": drafts_s,
        "met": drafts_s["p99"] <= MUST_S,
        "projector_cpu_us": cpu_us["projector"],
        "postgres_cpu_us": cpu_us["postgres"],
        "drafts_priced_per_event": used["drafts"] / run.posted.events,
        "month_rows_per_draft": used["usage_month"] / used["drafts"],
        "hour_rows_per_draft": used["usage_hour"] / used["drafts"],
        "load": run.summary(),
        "raw_drafts_s": [round(s, 4) for s in probes.drafts_s],
    }


async def _counted(connection: asyncpg.Connection) -> Mapping[str, int]:
    """What PostgreSQL has counted. Its processes tell within a second while they work."""
    await connection.execute("SELECT pg_sleep(1.5)")
    found = {row["relname"]: int(row["found"]) for row in await connection.fetch(_READ)}
    return found | {"drafts": int(await connection.fetchval(_PRICED))}


def as_table(measured: dict[str, Any]) -> str:
    """For the terminal."""
    lines = [
        f"{'customers':>9} {'day':>5} {'hours each':>10} {'p50 s':>7} {'p99 s':>7} {'max s':>7}"
        f" {'projector us':>12} {'PostgreSQL us':>13} {'all us':>7}"
        f" {'drafts/event':>12} {'months/draft':>12} {'hours/draft':>11}"
    ]
    lines += [
        f"{row['customers']:>9,} {row['day']:>5} {row['hours_a_customer']:>10.1f}"
        f" {row['drafts_s']['p50']:>7.3f} {row['drafts_s']['p99']:>7.3f}"
        f" {row['drafts_s']['max']:>7.3f}"
        f" {row['projector_cpu_us']:>12.1f} {row['postgres_cpu_us']:>13.1f}"
        f" {row['load']['cpu_us_per_event']:>7.1f} {row['drafts_priced_per_event']:>12.2f}"
        f" {row['month_rows_per_draft']:>12.1f} {row['hour_rows_per_draft']:>11.1f}"
        f"{'' if row['met'] else '  MISSED'}"
        for row in measured["rows"]
    ]
    verdict = "met" if measured["met"] else "MISSED"
    return "\n".join([*lines, f"99 of 100 within {measured['must_s']:g} s: {verdict}"])
