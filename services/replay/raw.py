"""Ranges from usage.raw, deduplicated afresh: the check on dedup itself. Uses an index of its own,
never the live one, and believes nothing of usage.unique.
"""

from services.dedup.index import SeenIndex
from services.dedup.judge import RangeJudge, Restore, ranges_of
from services.domain.chain import Range
from services.domain.tally import Tallies
from services.rating.fold import rated_into
from services.replay.generations import GenerationError
from services.replay.ranges import Catalogs, Reader
from services.runtime.log import RATED, RAW, Log, Record
from services.runtime.records import (
    RatedBatch,
    RatedHead,
    decode_rated_head,
    decode_unique_events,
    encode,
)

# Raw records read at a time when the index is rebuilt.
REBUILD_RECORDS = 1_000


class RawRanges:
    """See `services.replay.ranges.Ranges`."""

    def __init__(
        self,
        log: Log,
        index: SeenIndex,
        catalogs: Catalogs,
        *,
        partition_count: int,
    ) -> None:
        """`index`: empty at first, and nobody else's."""
        self._log = log
        self._index = index
        self._catalogs = catalogs
        self._partition_count = partition_count
        self._source = Reader(log, RAW)
        self._judges: dict[int, RangeJudge] = {}
        self._next: dict[int, int] = {}  # partition -> the first raw offset not judged yet

    async def again(self, rated: RatedHead, into: Tallies) -> RatedBatch:
        """See Ranges."""
        partition = rated.partition
        self._next[partition] = rated.first
        records = await self._records(partition, Range(rated.first, rated.last))
        judge = self._judges.get(partition)
        if judge is None:
            chain_start = await self._chain_start(partition)
            rebuild = self._rebuilder(partition, chain_start)
            judge = self._judges[partition] = self._judge(partition, chain_start, rebuild)
        judged = encode(await judge.judge(records))
        batch = decode_unique_events(judged, f"{RAW}[{partition}]@{rated.first}")
        catalog = await self._catalogs.for_range(rated)
        # What is read of the record are its bytes and the offset it has in usage.unique.
        record = Record(partition, rated.source_offset, 0, None, judged)
        return rated_into(into, record, batch, Range(rated.first, rated.last), catalog)

    async def _records(self, partition: int, wanted: Range) -> list[Record]:
        offsets = range(wanted.first, wanted.last + 1)
        return [await self._source.at(partition, offset) for offset in offsets]

    async def _chain_start(self, partition: int) -> int:
        """The raw offset of the first range that was ever counted."""
        record = await Reader(self._log, RATED).at(partition, 0)
        return decode_rated_head(record.value, f"{RATED}[{partition}]@0").first

    def _judge(self, partition: int, chain_start: int, restore: Restore) -> RangeJudge:
        return RangeJudge(
            self._log,
            self._index,
            restore,
            partition=partition,
            partition_count=self._partition_count,
            chain_start=chain_start,
        )

    def _rebuilder(self, partition: int, chain_start: int) -> Restore:
        async def rebuild(mark: int | None, oldest_offset: int) -> None:
            """Judge again, for the index alone, everything after its mark."""
            again = self._judge(partition, chain_start, _lost_again)
            first = chain_start if mark is None else mark + 1
            while first < self._next[partition]:
                last = min(first + REBUILD_RECORDS, self._next[partition]) - 1
                for taken in ranges_of(await self._records(partition, Range(first, last))):
                    await again.judge(taken)
                first = last + 1

        return rebuild


async def _lost_again(mark: int | None, oldest_offset: int) -> None:
    raise GenerationError(
        f"the index of this replay lost everything after raw offset {mark} while it was being"
        " rebuilt; is something else deleting keys in this Redis?"
    )
