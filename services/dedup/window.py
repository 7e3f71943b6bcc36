"""Where the window of remembered ids begins, as a raw offset: a function of the log alone, whatever
retention has taken of usage.raw. Never reads an event.
"""

from services.dedup.search import batch_at, first_where
from services.runtime.log import RAW, UNIQUE, Log


async def offset_since(log: Log, partition: int, since_ms: int, *, chain_start: int) -> int:
    """The first raw offset that was ingested at or after `since_ms`, the start of an hour, in
    milliseconds since the epoch. Too low rather than too high: to remember too much does no harm.

    `chain_start`: the raw offset before which nothing was judged; -1 when that is not known.

    usage.raw answers as long as it reaches back before that instant. What was deleted after it has
    been judged, and its times are in usage.unique: to take the first record that is left would
    forget the ids that went with the others, and count their retries twice.
    """
    offset = await log.offset_at(RAW, partition, since_ms)
    # Read after the offset: it may only have grown since.
    raw_start, _ = await log.bounds(RAW, partition)
    if offset > raw_start or raw_start <= max(chain_start, 0):
        return offset
    start, end = await log.bounds(UNIQUE, partition)
    found = await first_where(log, partition, lambda batch: batch.ingested_to_ms >= since_ms)
    if found >= end:
        return offset  # whatever was judged is older
    if found == start > 0:
        return 0  # it was cut as well; how much of what is gone lies in the window is unknown
    # A range never crosses an hour, so its first offset is the first of the hour.
    return min(offset, (await batch_at(log, partition, found)).first)
