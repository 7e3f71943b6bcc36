"""Counting the log into a generation, up to where the live one stands. Resumes from its own
positions, so that a replay which was killed goes on where its last transaction ended.

Order of effects for some ranges of a partition: 1. read usage.rated from the position; 2. count
each range again; 3. apply in one transaction, the position first, by compare-and-set.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from services.domain.chain import ChainBroken, Unit
from services.projector.merge import merge_range
from services.projector.projection import Flush, Position, PositionMoved, Projection
from services.replay.ranges import Ranges
from services.runtime.log import RATED, Log, OffsetGone, Record
from services.runtime.records import decode_rated_head

# A transaction ends after so many raw offsets, about a second's work, which a killed replay does
# again; and after so many rows, which bounds its memory.
OFFSETS_MAX = 200_000
ROWS_MAX = 50_000

Progress = Callable[[int, int], None]
"""Called after every transaction: (partition, next raw offset)."""


def _silent(partition: int, next_raw: int) -> None:
    """No progress is shown."""


class Build:
    """Fills one generation."""

    def __init__(
        self,
        log: Log,
        projection: Projection,
        ranges: Ranges,
        progress: Progress = _silent,
        *,
        partition_count: int,
    ) -> None:
        """`projection`: of the generation to fill."""
        self._partition_count = partition_count
        self._log = log
        self._projection = projection
        self._ranges = ranges
        self._progress = progress
        # By partition: the rated offset up to which was looked for ranges under older catalogs,
        # and the last raw offset of those found.
        self._looked_to: dict[int, int] = {}
        self._last_older: dict[int, int] = {}

    async def catch_up(self, live: Mapping[int, Position]) -> None:
        """Count every partition up to the live positions, never beyond; raises ChainBroken, after
        the other partitions, when the log no longer holds what is to be counted."""
        results = await asyncio.gather(
            *(self._partition(partition, limit) for partition, limit in live.items()),
            return_exceptions=True,
        )
        for failure in results:
            if failure is not None:
                raise failure

    async def counted_since(self, live: Mapping[int, Position], version: int) -> bool:
        """Whether no range that waits for the live count was rated under an older catalog than
        `version`. Looks at each record once, however often it is asked."""
        for partition in range(self._partition_count):
            await self._look_for_older(partition, live.get(partition, Position(0, 0)), version)
        return all(
            partition in live and live[partition].next_raw > last
            for partition, last in self._last_older.items()
        )

    async def _look_for_older(self, partition: int, position: Position, version: int) -> None:
        offset = self._looked_to.get(partition, position.next_rated)
        while records := await self._log.read(RATED, partition, offset):
            for record in records:
                rated = decode_rated_head(record.value, f"{RATED}[{partition}]@{record.offset}")
                if rated.last >= position.next_raw and rated.catalog_version < version:
                    last = self._last_older.get(partition, rated.last)
                    self._last_older[partition] = max(last, rated.last)
            offset = records[-1].offset + 1
        self._looked_to[partition] = offset

    async def _partition(self, partition: int, limit: Position) -> None:
        position = await self._position(partition)
        while position is None or position.next_rated < limit.next_rated:
            position = await self._advance(partition, position, limit)
            if position is not None:
                self._progress(partition, position.next_raw)

    async def _position(self, partition: int) -> Position | None:
        return (await self._projection.positions([partition])).get(partition)

    async def _advance(
        self, partition: int, position: Position | None, limit: Position
    ) -> Position | None:
        """One transaction; returns where the generation stands after it."""
        offset = 0 if position is None else position.next_rated
        next_raw = None if position is None else position.next_raw
        flush = Flush()
        # The live position follows a range that was no repeat, so a flush is never left empty.
        while offset < limit.next_rated and not _is_full(flush):
            for record in await self._read(partition, offset, limit):
                offset = record.offset + 1
                rated = decode_rated_head(record.value, f"{RATED}[{partition}]@{record.offset}")
                if next_raw is not None and rated.last < next_raw:
                    continue  # a repeat: counting it again would be in vain
                again = await self._ranges.again(rated, flush.tallies)
                next_raw = merge_range(flush, position, next_raw, again, record.offset)
        flush.settle()
        try:
            await self._projection.apply(flush)
        except PositionMoved:
            return await self._position(partition)  # another replay of it is at work: go on there
        advance = flush.advances[partition]
        return Position(advance.next_raw, advance.next_rated)

    async def _read(self, partition: int, offset: int, limit: Position) -> Sequence[Record]:
        try:
            records = await self._log.read(RATED, partition, offset)
        except OffsetGone as gone:
            raise ChainBroken(RATED, partition, offset, gone.start, unit=Unit.OFFSET) from gone
        if not records:
            raise ChainBroken(RATED, partition, limit.next_rated, offset, unit=Unit.OFFSET)
        return [record for record in records if record.offset < limit.next_rated]


def _is_full(flush: Flush) -> bool:
    """Whether a flush of one partition is to be written."""
    offsets = sum(advance.next_raw - advance.first_raw for advance in flush.advances.values())
    rows = len(flush.rejections) + len(flush.conflicts)
    rows += sum(len(tally.counts) for tally in flush.tallies.values())
    return offsets >= OFFSETS_MAX or rows >= ROWS_MAX
