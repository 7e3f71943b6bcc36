"""`make bench`: the end-to-end rate on this machine, the load generator included.

Starts its own Tollgate in a temporary directory, makes customers on one plan over two metrics (one
grouped by region), posts events as fast as they are answered, and waits until every one of them is
on a draft in PostgreSQL. Prints a table and writes bench.json. EVENTS sets how many (300,000).
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import psutil

EVENTS = int(os.environ.get("EVENTS", "300000"))
CUSTOMERS = 1_000
BATCH = 100
DRAIN_TIMEOUT_S = 300.0


async def set_up(url: str, token: str, run: str) -> None:
    """Two metrics, one plan, customers on it."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(url, headers=headers) as session:

        async def call(path: str, content: object) -> str:
            async with session.post(path, json=content) as answer:
                answer.raise_for_status()
                return str((await answer.json())["data"]["id"])

        filters = {"event_type_filter": {"in_values": ["transfer"]}}
        total = await call(
            "/v1/billable-metrics/create",
            {
                "name": "bytes",
                "aggregation_type": "SUM",
                "aggregation_key": "bytes",
                "property_filters": [{"name": n, "exists": True} for n in ("bytes", "region")],
                "group_keys": [["region"]],
                **filters,
            },
        )
        count = await call(
            "/v1/billable-metrics/create",
            {"name": "transfers", "aggregation_type": "COUNT", **filters},
        )
        charges = [
            {
                "name": name,
                "product_name": name,
                "billable_metric_id": metric,
                "prices": [{"tier": 0, "value": "0.01"}],
            }
            for name, metric in (("bytes", total), ("transfers", count))
        ]
        plan = await call("/v1/plans/create", {"name": "bench", "charges": charges})
        month = time.strftime("%Y-%m-01T00:00:00Z", time.gmtime())
        for number in range(CUSTOMERS):
            alias = f"{run}-customer-{number}"
            customer = await call("/v1/customers", {"name": alias, "ingest_aliases": [alias]})
            start = {"plan_id": plan, "starting_on": month}
            await call(f"/v1/customers/{customer}/plans/add", start)


async def counted(database_url: str) -> tuple[int, int]:
    """(events on drafts, marks still to be priced)."""
    connection = await asyncpg.connect(database_url)
    try:
        row = await connection.fetchrow(
            "SELECT (SELECT coalesce(sum((line ->> 'quantity')::numeric), 0) FROM invoice,"
            " jsonb_array_elements(document -> 'line_items') line"
            " WHERE line ->> 'name' = 'transfers'), (SELECT count(*) FROM stale_draft)"
        )
        return int(Decimal(row[0])), int(row[1])
    finally:
        await connection.close()


def cpu_seconds(processes: list[dict[str, object]]) -> dict[str, float]:
    """User and system time by process name, children included, from the operating system."""
    used: dict[str, float] = {}
    for entry in processes:
        family = psutil.Process(int(str(entry["pid"])))
        times = [p.cpu_times() for p in (family, *family.children(recursive=True))]
        own = sum(t.user + t.system for t in times)
        name = str(entry["name"])
        used[name] = used.get(name, 0.0) + own
    return used


def measure(run_file: Path) -> dict[str, object]:
    """One burst from first request to last draft."""
    run = json.loads(run_file.read_text())
    name = uuid4().hex[:8]
    asyncio.run(set_up(run["api_url"], run["token"], name))
    before = cpu_seconds(run["processes"])
    began = time.monotonic()
    generated = subprocess.run(
        [
            *(sys.executable, "-m", "tests.bench.generator", "--url", run["api_url"]),
            *("--token", run["token"], "--run", name, "--events", str(EVENTS)),
            *("--batch", str(BATCH), "--customers", str(CUSTOMERS)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    accepted = json.loads(generated.stdout)
    expected = EVENTS - EVENTS // 100
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    while (state := asyncio.run(counted(run["database_url"]))) != (expected, 0):
        if time.monotonic() > deadline:
            raise SystemExit(f"not drained: {state} of {expected} events are on drafts")
        time.sleep(0.05)
    seconds = time.monotonic() - began
    after = cpu_seconds(json.loads(run_file.read_text())["processes"])
    cpu = {name: 1e6 * (after[name] - before.get(name, 0.0)) / EVENTS for name in after}
    return {
        "hardware": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "settings": {"events": EVENTS, "batch": BATCH, "customers": CUSTOMERS, "duplicates": 0.01},
        "figures": {
            "accepted_per_s": EVENTS / accepted["seconds"],
            "end_to_end_per_s": EVENTS / seconds,
            "cpu_us_per_event": sum(cpu.values()),
        },
        "cpu_us_per_event_by_process": cpu,
        "statuses": accepted["statuses"],
    }


def main() -> int:
    """Entry."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-") as directory:
        command = [sys.executable, "-m", "services", "up", "--data-dir", directory, "--port", "0"]
        up = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert up.stdout is not None
            for line in up.stdout:
                print(line, end="")
                if line.startswith("tollgate is ready"):
                    break
            else:
                return 1
            result = measure(Path(directory) / "run.json")
        finally:
            up.terminate()
            up.wait(60)
    Path("bench.json").write_text(json.dumps(result, indent=2) + "\n")
    figures = result["figures"]
    assert isinstance(figures, dict)
    for key, value in figures.items():
        print(f"{key:<20} {value:>12,.1f}")
    print(json.dumps(result["cpu_us_per_event_by_process"]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
