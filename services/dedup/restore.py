"""Puts lost ids back into the index from usage.unique, the authority. Never writes the log."""

import logging
from collections.abc import AsyncIterator, Sequence

from services.dedup.index import Behind, Claim, SeenIndex
from services.domain.chain import ChainBroken, Range, Unit
from services.domain.dedup import digest_of, fingerprint_of
from services.runtime.events import decode_event
from services.runtime.log import UNIQUE, Log, OffsetGone
from services.runtime.records import UniqueBatch, decode_unique

logger = logging.getLogger(__name__)

# A repeat written by a paused worker may stand after newer ranges; looking this many records
# further back than the search says costs little.
_BACK_RECORDS = 200


async def restore(
    log: Log, index: SeenIndex, partition: int, mark: int | None, oldest_offset: int
) -> None:
    """Put back every unique sighting after raw offset `mark` (all since `oldest_offset` when the
    index knows nothing) and so move the index's mark to the end of usage.unique. Gives up when the
    index forgets again meanwhile, which the next claim then shows. Raises ChainBroken when
    usage.unique no longer has all that was lost: going on would count events twice."""
    try:
        await _restore(log, index, partition, mark, oldest_offset)
    except OffsetGone as gone:  # deleted as it was being read
        raise ChainBroken(UNIQUE, partition, gone.offset, gone.start, unit=Unit.OFFSET) from gone


async def _restore(
    log: Log, index: SeenIndex, partition: int, mark: int | None, oldest_offset: int
) -> None:
    known = oldest_offset - 1 if mark is None else mark
    await _check_reach(log, partition, known)
    anew = mark is None
    next_raw = None if mark is None else mark + 1
    count = 0
    reached: UniqueBatch | None = None
    async for batch in _batches(log, partition, await _first_after(log, partition, known)):
        if reached is None or batch.last > reached.last:
            reached = batch
        if batch.last <= known:
            continue
        if next_raw is not None and batch.first > next_raw:
            raise ChainBroken(UNIQUE, partition, next_raw, batch.first)
        next_raw = max(batch.last + 1, next_raw or 0)
        claims = _claims_of(batch)
        if await _put_back(index, batch, claims, anew=anew):
            return
        anew = False
        count += len(claims)
    if anew and reached is not None:
        # Every id is forgotten by age, so none was put back; the index must still learn how far
        # the log was judged, or it would refuse the next range for ever.
        await _put_back(index, reached, [], anew=True)
    logger.warning(
        "the index had lost partition %d after raw offset %s; %d ids were put back from %s",
        partition,
        mark,
        count,
        UNIQUE,
    )


async def _check_reach(log: Log, partition: int, known: int) -> None:
    """Raise ChainBroken when records were deleted that may hold ids first seen after `known`."""
    start, end = await log.bounds(UNIQUE, partition)
    if start == 0:
        return  # everything since the chain began
    if start == end:
        raise ChainBroken(UNIQUE, partition, end - 1, end, unit=Unit.OFFSET)
    oldest = await _batch_at(log, partition, start)
    if oldest.first > known + 1:
        raise ChainBroken(UNIQUE, partition, known + 1, oldest.first)


async def _put_back(
    index: SeenIndex, batch: UniqueBatch, claims: Sequence[Claim], *, anew: bool
) -> Behind | None:
    taken = Range(batch.first, batch.last)
    behind = await index.restore(batch.partition, taken, claims, anew=anew)
    if behind is not None:
        logger.warning(
            "the index forgot partition %d again, after raw offset %s, while it was being restored",
            batch.partition,
            behind.mark,
        )
    return behind


async def _batches(log: Log, partition: int, offset: int) -> AsyncIterator[UniqueBatch]:
    """Every range of usage.unique from `offset` on."""
    while records := await log.read(UNIQUE, partition, offset):
        for record in records:
            yield decode_unique(record.value, f"{UNIQUE}[{partition}]@{record.offset}")
        offset = records[-1].offset + 1


async def _first_after(log: Log, partition: int, known: int) -> int:
    """An offset of usage.unique at or before the first range that ends after `known`.

    Ranges grow along the log but for repeats, so a binary search comes close; then it steps back
    until the range there begins at or before known + 1.
    """
    start, end = await log.bounds(UNIQUE, partition)
    low, high = start, end
    while low < high:
        middle = (low + high) // 2
        if (await _batch_at(log, partition, middle)).last > known:
            high = middle
        else:
            low = middle + 1
    offset = max(start, low - _BACK_RECORDS)
    while start < offset < end and (await _batch_at(log, partition, offset)).first > known + 1:
        offset = max(start, offset - _BACK_RECORDS)
    return offset


async def _batch_at(log: Log, partition: int, offset: int) -> UniqueBatch:
    records = await log.read(UNIQUE, partition, offset)
    if not records:  # the end was lost since the bounds were read
        raise ChainBroken(UNIQUE, partition, offset + 1, offset, unit=Unit.OFFSET)
    return decode_unique(records[0].value, f"{UNIQUE}[{partition}]@{offset}")


def _claims_of(batch: UniqueBatch) -> list[Claim]:
    return [
        Claim(
            digest_of(decode_event(event).transaction_id),
            batch.first + offset,
            fingerprint_of(bytes(event)),
        )
        for offset, event in zip(batch.offsets, batch.events, strict=True)
    ]
