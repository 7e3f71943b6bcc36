"""A replay of the whole log from usage.unique, against the end-to-end rate of the same run."""

import time
from typing import Any

from tests.bench.database import connected
from tests.bench.load import Order
from tests.bench.results import Results
from tests.bench.scale import Scale
from tests.bench.site import Site

_EVENTS_MIN = 50_000
_NEWEST = "SELECT max(id) FROM generation"


async def measure(site: Site, scale: Scale, results: Results) -> dict[str, Any]:
    """Start to end of the command, its own start included; then the diff must be empty."""
    live_per_s = results.end_to_end_per_s()
    events = await site.drafts.taken()
    if live_per_s is None or events < _EVENTS_MIN:
        run = await site.drained(Order(site.shape(), 16, seconds=scale.trial_s))
        live_per_s = live_per_s or run.per_s
        events = await site.drafts.taken()
    began = time.monotonic()
    await site.stack.command("replay", "start", "--all", "--from", "unique")
    seconds = time.monotonic() - began
    async with connected(site.stack.database_url) as connection:
        generation = str(await connection.fetchval(_NEWEST))
    await site.stack.command("replay", "diff", generation)  # its status is 1 when any line differs
    await site.stack.command("replay", "drop", generation)
    return {
        "figures": {"replay_ratio": events / seconds / live_per_s},
        "events": events,
        "seconds": seconds,
        "replay_per_s": events / seconds,
        "against_per_s": live_per_s,
    }
