"""What has reached the drafts in PostgreSQL. Only reads, cheaply: what it costs is measured too."""

import asyncio
import time
from dataclasses import dataclass
from decimal import Decimal

import asyncpg

from tests.bench.catalog import Catalog
from tests.bench.stack import BenchError

_TAKEN = """
SELECT coalesce(sum(next_raw_offset - first_raw_offset), 0)::bigint
FROM projection_position WHERE generation = (SELECT generation FROM live_generation)
"""
# Asked only at the end: the list is long while there is much to price.
_STALE = "SELECT EXISTS (SELECT FROM stale_draft)"
_ON_DRAFTS = """
SELECT line ->> 'name' AS name, sum((line ->> 'quantity')::numeric) AS quantity
FROM invoice i, jsonb_array_elements(i.document -> 'line_items') AS line
WHERE i.status = 'DRAFT' AND i.plan_id = $1 GROUP BY 1
"""
_POLL_S = 0.02


@dataclass(slots=True)
class Expected:
    """What a plan's drafts must show, all its runs together."""

    unique: int = 0
    amount: int = 0


class Drafts:
    """One connection that watches."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def taken(self) -> int:
        """Raw events that the projector has put away, whatever their fate."""
        return int(await self._connection.fetchval(_TAKEN))

    async def settled(self, taken: int, wait_s: float) -> float:
        """Wait until so many raw events were put away and no draft is stale; returns when. A mark
        goes in the transaction that writes its draft, so no mark means that the drafts show it."""
        deadline = time.monotonic() + wait_s
        while True:
            reached = await self.taken()
            if reached >= taken and not await self._connection.fetchval(_STALE):
                return time.monotonic()
            if time.monotonic() > deadline:
                raise BenchError(
                    f"not drained within {wait_s:.0f} s: {reached} of {taken} events are counted"
                )
            await asyncio.sleep(_POLL_S)

    async def check(self, catalog: Catalog, expected: Expected) -> None:
        """Raises BenchError unless the drafts of a plan show exactly what was posted."""
        rows = await self._connection.fetch(_ON_DRAFTS, catalog.plan_id)
        found = {row["name"]: row["quantity"] for row in rows}
        wanted = {"count": Decimal(expected.unique), "sum": Decimal(expected.amount)}
        for name in catalog.checked:
            if found.get(name, Decimal(0)) != wanted[name]:
                raise BenchError(
                    f"on drafts {name} is {found.get(name)}, posted were {wanted[name]}"
                )
