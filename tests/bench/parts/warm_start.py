"""From `tollgate up` on a data directory that holds the log of the other parts to "ready", after an
orderly stop.
"""

from typing import Any

from tests.bench.figures import median
from tests.bench.scale import Scale
from tests.bench.stack import Stack


async def measure(stack: Stack, scale: Scale) -> dict[str, Any]:
    """Stop and start again."""
    first_s = stack.start_s
    seconds = []
    for _ in range(scale.warm_starts):
        await stack.stop()
        await stack.start()
        seconds.append(stack.start_s)
    return {
        "figures": {"warm_start_s": median(seconds)},
        "seconds": seconds,
        "first_start_s": first_s,
    }
