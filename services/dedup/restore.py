"""Puts lost ids back into the index from usage.unique, the authority. Never writes the log."""

import logging

from services.dedup.index import Behind, Claims, SeenIndex
from services.dedup.search import BACK_RECORDS, batch_at, batches, first_where
from services.domain.chain import ChainBroken, Range, Unit
from services.domain.dedup import digest_of, fingerprint_of
from services.runtime.events import decode_event
from services.runtime.log import UNIQUE, Log, OffsetGone
from services.runtime.records import UniqueBatch

logger = logging.getLogger(__name__)


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
    next_raw = known + 1
    count = 0
    reached: UniqueBatch | None = None
    start, _ = await log.bounds(UNIQUE, partition)
    first = await first_where(log, partition, lambda batch: batch.last > known)
    # From before it: when there is no such range, the last ones tell how far the log was judged.
    async for offset, batch in batches(log, partition, max(start, first - BACK_RECORDS)):
        if reached is None or batch.last > reached.last:
            reached = batch
        if batch.last <= known:
            continue
        if batch.first > next_raw and offset > 0:  # record 0 begins the chain, wherever
            raise ChainBroken(UNIQUE, partition, next_raw, batch.first)
        next_raw = max(batch.last + 1, next_raw)
        claims = _claims_of(batch)
        if await _put_back(index, batch, claims, anew=anew):
            return
        anew = False
        count += len(claims.digests)
    if anew and reached is not None:
        # Every id is forgotten by age, so none was put back; the index must still learn how far
        # the log was judged, or it would refuse the next range for ever.
        await _put_back(index, reached, Claims(), anew=True)
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
    oldest = await batch_at(log, partition, start)
    if oldest.first > known + 1:
        raise ChainBroken(UNIQUE, partition, known + 1, oldest.first)


async def _put_back(
    index: SeenIndex, batch: UniqueBatch, claims: Claims, *, anew: bool
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


def _claims_of(batch: UniqueBatch) -> Claims:
    return Claims(
        digests=[digest_of(decode_event(event).transaction_id.encode()) for event in batch.events],
        offsets=[batch.first + offset for offset in batch.offsets],
        fingerprints=[fingerprint_of(bytes(event)) for event in batch.events],
    )
