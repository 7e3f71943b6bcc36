"""What an id costs in Redis: ids are claimed through the index, as dedup claims them, on a Redis of
the bench's own, and its memory is read at several sizes.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from services.dedup.index import Claims, Judged
from services.dedup.index_redis import RedisSeenIndex
from services.domain.chain import Range
from services.domain.dedup import digest_of, fingerprint_of
from services.stack.embedded import EmbeddedServers
from tests.bench.scale import Scale
from tests.bench.stack import BenchError

_PARTITIONS = 8
_CLAIMS = 1_000
# The figure is that of this many: more are cheaper, and most installations have more.
FIGURE_IDS = 1_000_000


async def measure(scale: Scale) -> dict[str, Any]:
    """Memory at each size."""
    with tempfile.TemporaryDirectory(prefix="tollgate-bench-redis-") as directory:
        async with EmbeddedServers(Path(directory), only=("redis",)) as servers:
            redis = Redis.from_url(servers.redis_url)
            try:
                curve = await _fill(redis, scale.redis_ids)
            finally:
                await redis.aclose()
    best = [point for point in curve if point["ids"] <= FIGURE_IDS]
    return {"figures": {"redis_bytes_per_id": best[-1]["used_bytes_per_id"]}, "curve": curve}


async def _fill(redis: Redis, sizes: tuple[int, ...]) -> list[dict[str, float]]:
    index = RedisSeenIndex(redis, "benchred")
    empty_used, empty_resident = await _memory(redis)
    curve: list[dict[str, float]] = []
    done = 0
    for size in sizes:
        began = time.monotonic()
        per_partition = range(done // _PARTITIONS, size // _PARTITIONS)
        await asyncio.gather(
            *(_claim_all(index, partition, per_partition) for partition in range(_PARTITIONS))
        )
        seconds = time.monotonic() - began
        used, resident = await _memory(redis)
        curve.append(
            {
                "ids": size,
                "used_bytes_per_id": (used - empty_used) / size,
                "resident_bytes_per_id": (resident - empty_resident) / size,
                "claims_per_s": (size - done) / seconds,
            }
        )
        done = size
    return curve


async def _claim_all(index: RedisSeenIndex, partition: int, offsets: range) -> None:
    for first in range(offsets.start, offsets.stop, _CLAIMS):
        taken = range(first, min(first + _CLAIMS, offsets.stop))
        claims = _claims(partition, taken)
        judged = await index.claim(
            partition, Range(taken[0], taken[-1]), claims, chain_start=0, oldest_offset=0
        )
        if not isinstance(judged, Judged) or judged.repeats:
            raise BenchError(f"claims of new ids were judged {judged}")


def _claims(partition: int, offsets: range) -> Claims:
    ids = [f"redis-{partition}-{offset}".encode() for offset in offsets]
    return Claims(list(map(digest_of, ids)), list(offsets), list(map(fingerprint_of, ids)))


async def _memory(redis: Redis) -> tuple[int, int]:
    await asyncio.sleep(0.5)  # the resident size is sampled by the server ten times a second
    found = await redis.info("memory")
    return int(found["used_memory"]), int(found["used_memory_rss"])
