"""The load: posts bodies made beforehand over keep-alive connections, from a process of its own.

Prints one line of JSON: events, seconds, requests by status. Bounded by its arguments.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp


def body(run: str, first: int, count: int, customers: int) -> bytes:
    """One request: `count` events of about 190 bytes, every hundredth a duplicate of its
    predecessor."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    events = []
    for number in range(first, first + count):
        own = number - 1 if number % 100 == 99 else number
        events.append(
            {
                "transaction_id": f"{run}-{own}",
                "customer_id": f"{run}-customer-{own % customers}",
                "event_type": "transfer",
                "timestamp": at,
                "properties": {"bytes": str(own % 1000), "region": f"region-{own % 4}"},
            }
        )
    return json.dumps(events, separators=(",", ":")).encode()


async def post(arguments: argparse.Namespace) -> dict[str, object]:
    """Send everything; a request that is not answered 200 is sent again, as clients must."""
    per_request = arguments.batch
    bodies = [
        body(arguments.run, first, min(per_request, arguments.events - first), arguments.customers)
        for first in range(0, arguments.events, per_request)
    ]
    queue = iter(bodies)
    statuses: Counter[int] = Counter()
    headers = {"Authorization": f"Bearer {arguments.token}"}

    async def connection(session: aiohttp.ClientSession) -> None:
        for content in queue:
            while True:
                async with session.post("/v1/ingest", data=content) as answer:
                    statuses[answer.status] += 1
                    if answer.status == 200:
                        break
                    await asyncio.sleep(0.1)

    async with aiohttp.ClientSession(arguments.url, headers=headers) as session:
        began = time.monotonic()
        await asyncio.gather(*(connection(session) for _ in range(arguments.connections)))
        seconds = time.monotonic() - began
    return {"events": arguments.events, "seconds": seconds, "statuses": dict(statuses)}


def main() -> None:
    """Entry."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--token", required=True)
    parser.add_argument("--run", default=uuid4().hex[:8])
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=16)
    print(json.dumps(asyncio.run(post(parser.parse_args()))))


if __name__ == "__main__":
    main()
