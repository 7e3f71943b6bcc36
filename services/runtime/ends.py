"""The last record of a stage's output, which is its checkpoint. Reads only."""

from services.runtime.log import RATED, UNIQUE, Log
from services.runtime.records import RatedBatch, UniqueBatch, decode_rated, decode_unique


async def last_unique(log: Log, partition: int) -> UniqueBatch | None:
    """The last range that dedup wrote, None before its first."""
    last = await log.last(UNIQUE, partition)
    if last is None:
        return None
    return decode_unique(last.value, f"{UNIQUE}[{partition}]@{last.offset}")


async def last_rated(log: Log, partition: int) -> RatedBatch | None:
    """The last range that rating wrote, None before its first."""
    last = await log.last(RATED, partition)
    if last is None:
        return None
    return decode_rated(last.value, f"{RATED}[{partition}]@{last.offset}")
