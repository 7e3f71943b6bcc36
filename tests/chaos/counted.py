"""What Tollgate has counted, read once everything is drained: aggregates, drafts, conservation."""

import asyncio
import json
import time
from typing import Any

import asyncpg

from services.ops.lag import measure
from services.runtime.settings import read_settings
from tests.chaos.tally import Group
from tests.integration.client import Billed, Tollgate

# With a backlog of some hundred thousand events on a machine that is busy with other things.
DRAIN_S_MAX = 180.0

_GROUPS = """
SELECT s.group_values, sum(u.count)::bigint AS count, sum(u.total) AS total
FROM live_series s JOIN {table} u ON u.series_id = s.id
WHERE s.metric_id = $1 GROUP BY s.group_values
"""


async def drain(tollgate: Tollgate) -> float:
    """Wait until every stage has taken everything and every draft is fresh; returns the seconds.

    Raises AssertionError with the lag of each stage when it takes too long.
    """
    began = time.monotonic()
    behind: object = "nothing answered"
    while time.monotonic() - began < DRAIN_S_MAX:
        try:
            behind = await _behind(tollgate)
        except Exception as error:  # noqa: BLE001 (servers that are just coming back)
            behind = error
        if behind == {}:
            return time.monotonic() - began
        await asyncio.sleep(0.25)
    raise AssertionError(f"not drained after {DRAIN_S_MAX:.0f} s: {behind!r}")


async def _behind(tollgate: Tollgate) -> dict[str, int]:
    """Records by stage and marks that are not yet priced, where there are any."""
    run = tollgate.run
    lags = await measure(settings_of(run))
    stale = await _fetch(run["database_url"], "SELECT count(*) AS marks FROM stale_draft")
    behind = {"pricing": int(stale[0]["marks"])}
    for lag in lags:
        behind[lag.stage] = behind.get(lag.stage, 0) + lag.records
    return {name: records for name, records in behind.items() if records}


def settings_of(run: dict[str, Any]) -> Any:
    """Settings by which a tool of ours reaches the servers."""
    names = ("kafka_bootstrap_servers", "redis_url", "database_url")
    return read_settings({name.upper(): run[name] for name in names})


async def groups(tollgate: Tollgate, customer: Billed) -> dict[str, Group]:
    """The aggregate of each batch; by month, which must be the one by hour."""
    months, hours = [
        {
            json.loads(row["group_values"])[0]: Group(row["count"], row["total"])
            for row in await _fetch(
                tollgate.run["database_url"], _GROUPS.format(table=table), customer.metric_id
            )
        }
        for table in ("usage_month", "usage_hour")
    ]
    assert months == hours, "the totals of the month are not those of its hours"
    return months


def quantity_on_drafts(tollgate: Tollgate, customer: Billed) -> int:
    """What the customer is billed for; our events have whole amounts."""
    path = f"/v1/customers/{customer.customer_id}/invoices?status=DRAFT"
    answer = tollgate.patient("GET", path)
    assert answer.status == 200, answer
    lines = [line for draft in answer.body["data"] for line in draft["line_items"]]
    return sum(int(line["quantity"]) for line in lines)  # as int: no context rounds it


async def _fetch(database_url: str, query: str, *arguments: object) -> list[Any]:
    connection = await asyncpg.connect(database_url)
    try:
        rows: list[Any] = await connection.fetch(query, *arguments)
        return rows
    finally:
        await connection.close()
