"""Searches usage.unique for a place in the chain. Reads only, and decides nothing about an event.

Ranges grow along usage.unique but for repeats: a worker that was paused may append what others
have long written. A binary search that meets such a repeat would go on too late, so what stands
before its answer is looked at, too.
"""

from collections.abc import AsyncIterator, Callable

from services.domain.chain import ChainBroken, Unit
from services.runtime.log import UNIQUE, Log
from services.runtime.records import UniqueBatch, decode_unique

# So many repeats in a row do not mislead a search. One worker writes what it polled at once, at
# most: some tens of ranges.
BACK_RECORDS = 200


async def first_where(log: Log, partition: int, holds: Callable[[UniqueBatch], bool]) -> int:
    """The offset of the first record of usage.unique of which `holds` is true; the end when there
    is none. `holds` has to stay true along the log once it is, repeats apart. Raises ChainBroken
    when the end is lost meanwhile, and what the log raises."""
    start, high = await log.bounds(UNIQUE, partition)
    while True:
        found = await _bisect(log, partition, (start, high), holds)
        earlier = await _first_in(log, partition, (max(start, found - BACK_RECORDS), found), holds)
        if earlier is None:
            return found
        high = earlier  # a repeat had misled the search


async def batch_at(log: Log, partition: int, offset: int) -> UniqueBatch:
    """The range at an offset of usage.unique. Raises ChainBroken when it is beyond the end."""
    records = await log.read(UNIQUE, partition, offset)
    if not records:  # the end was lost since the bounds were read
        raise ChainBroken(UNIQUE, partition, offset + 1, offset, unit=Unit.OFFSET)
    return decode_unique(records[0].value, f"{UNIQUE}[{partition}]@{offset}")


async def batches(log: Log, partition: int, offset: int) -> AsyncIterator[tuple[int, UniqueBatch]]:
    """Every range of usage.unique from `offset` on, with its own offset."""
    while records := await log.read(UNIQUE, partition, offset):
        for record in records:
            place = f"{UNIQUE}[{partition}]@{record.offset}"
            yield record.offset, decode_unique(record.value, place)
        offset = records[-1].offset + 1


async def _bisect(
    log: Log, partition: int, within: tuple[int, int], holds: Callable[[UniqueBatch], bool]
) -> int:
    low, high = within
    while low < high:
        middle = (low + high) // 2
        if holds(await batch_at(log, partition, middle)):
            high = middle
        else:
            low = middle + 1
    return low


async def _first_in(
    log: Log, partition: int, within: tuple[int, int], holds: Callable[[UniqueBatch], bool]
) -> int | None:
    first, end = within
    async for offset, batch in batches(log, partition, first):
        if offset >= end:
            return None
        if holds(batch):
            return offset
    return None
