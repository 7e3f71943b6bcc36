"""The last record of a stage's output, which is its checkpoint. Reads only."""

from dataclasses import dataclass

from services.domain.chain import ChainBroken, Unit
from services.runtime.log import RATED, RAW, UNIQUE, Log
from services.runtime.records import RatedHead, UniqueBatch, decode_rated_head, decode_unique

# A paused worker writes again no more than it had polled at once, which is some tens of ranges.
_TAIL_RECORDS = 50


async def check_unwritten(log: Log, topic: str, partition: int) -> None:
    """Raise ChainBroken when an empty partition was written once: a checkpoint was in it."""
    start, end = await log.bounds(topic, partition)
    if start == end > 0:
        raise ChainBroken(topic, partition, end - 1, end, unit=Unit.OFFSET)


async def last_unique(log: Log, partition: int) -> UniqueBatch | None:
    """The last range that dedup wrote, None before its first."""
    last = await log.last(UNIQUE, partition)
    if last is None:
        return None
    return decode_unique(last.value, f"{UNIQUE}[{partition}]@{last.offset}")


@dataclass(frozen=True, slots=True)
class Judged:
    """How far dedup has come on a partition."""

    furthest: UniqueBatch  # the range that ends last
    newest_ms: int  # newest log-append time, milliseconds since the epoch


async def furthest_unique(log: Log, partition: int) -> Judged | None:
    """How far dedup came, by the last records of usage.unique, None before its first. A worker that
    was paused may have written ranges again after others had gone on."""
    last = await log.last(UNIQUE, partition)
    if last is None:
        return None
    start, _ = await log.bounds(UNIQUE, partition)
    batches = [decode_unique(last.value, f"{UNIQUE}[{partition}]@{last.offset}")]
    offset = max(start, last.offset - _TAIL_RECORDS)
    while offset < last.offset and (records := await log.read(UNIQUE, partition, offset)):
        for record in records:
            batches.append(decode_unique(record.value, f"{UNIQUE}[{partition}]@{record.offset}"))
        offset = records[-1].offset + 1
    furthest = max(batches, key=lambda batch: batch.last)
    return Judged(furthest, max(batch.ingested_to_ms for batch in batches))


async def last_rated(log: Log, partition: int) -> RatedHead | None:
    """The last range that rating wrote, None before its first."""
    last = await log.last(RATED, partition)
    if last is None:
        return None
    return decode_rated_head(last.value, f"{RATED}[{partition}]@{last.offset}")


@dataclass(frozen=True, slots=True)
class StageEnds:
    """How far one partition's topics go."""

    raw_start: int  # raw offset, inclusive
    raw_end: int  # raw offset, exclusive
    unique: UniqueBatch | None  # the last range that dedup wrote
    rated: RatedHead | None  # the last range that rating wrote


async def stage_ends(log: Log, partition: int) -> StageEnds:
    """The ends of every topic, each read after the one that is made from it: what goes on
    meanwhile only makes a stage seem further behind, never ahead of its source."""
    rated = await last_rated(log, partition)
    unique = await last_unique(log, partition)
    start, end = await log.bounds(RAW, partition)
    return StageEnds(start, end, unique, rated)
