"""Dedup of one partition's records: check the chain, judge, append. Resumes from usage.unique, its
output.

Order of effects for a range: 1. claim in the index; 2. append to usage.unique; 3. move on. A crash
between 1 and 2 claims the same offsets again, which the index answers with the same verdicts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from services.dedup.index import SeenIndex
from services.dedup.judge import RangeJudge, ranges_of
from services.dedup.restore import restore
from services.domain.chain import ChainBroken, Unit, check_position
from services.runtime.ends import check_unwritten, furthest_unique
from services.runtime.failpoint import reach
from services.runtime.log import RAW, UNIQUE, Log, Record
from services.runtime.records import UniqueBatch, encode


@dataclass(slots=True)
class _Partition:
    judge: RangeJudge
    next_offset: int


class DedupStep:
    """See `services.runtime.worker.Step`."""

    def __init__(self, log: Log, index: SeenIndex, partition_count: int) -> None:
        self._log = log
        self._index = index
        self._partition_count = partition_count
        self._partitions: dict[int, _Partition] = {}

    async def open(self, partition: int) -> int:
        """Resume after the last range of usage.unique; the first start begins with the log. Raises
        ChainBroken when usage.raw cannot be read on from there, or the checkpoint is gone."""
        # The output first: whoever still writes it must not get ahead of the bounds read here.
        judged = await furthest_unique(self._log, partition)
        bounds = await self._log.bounds(RAW, partition)
        if judged is None:
            await check_unwritten(self._log, UNIQUE, partition)
            chain_start = next_offset = bounds[0]
            # What an index says of a chain that has not begun is about a log that is no more.
            await self._index.forget(partition)
        else:
            last = judged.furthest
            chain_start, next_offset = -1, last.last + 1
            check_position(RAW, partition, next_offset, bounds, Unit.RAW_OFFSET)
            await self._check_same_log(partition, last, start=bounds[0])
        judge = RangeJudge(
            self._log,
            self._index,
            # Nothing of ours is in flight then: every append is awaited before the next claim.
            partial(restore, self._log, self._index, partition),
            partition=partition,
            partition_count=self._partition_count,
            chain_start=chain_start,
            judged_to_ms=0 if judged is None else judged.newest_ms,
        )
        self._partitions[partition] = _Partition(judge, next_offset)
        return next_offset

    async def _check_same_log(self, partition: int, last: UniqueBatch, start: int) -> None:
        """A usage.raw that was made anew and has grown past the checkpoint has bounds that fit. But
        the last record that was judged has another time there: log-append time, to a millisecond.
        """
        if last.last < start:
            return  # retention took it, and nothing is missing
        records = await self._log.read(RAW, partition, last.last)
        if not records:  # the end was lost since the bounds were read
            raise ChainBroken(RAW, partition, last.last + 1, last.last)
        record = records[0]
        if record.timestamp_ms != last.ingested_to_ms:
            raise ChainBroken(RAW, partition, last.last + 1, record.offset, made_anew=True)

    async def close(self, partition: int) -> None:
        """See Step."""
        self._partitions.pop(partition, None)

    async def process(self, records: Mapping[int, Sequence[Record]]) -> list[ChainBroken]:
        """See Step. Partitions go side by side, the ranges of one in order."""
        results = await asyncio.gather(
            *(self._process(partition, batch) for partition, batch in records.items())
        )
        return [broken for broken in results if broken is not None]

    async def _process(self, partition: int, records: Sequence[Record]) -> ChainBroken | None:
        state = self._partitions.get(partition)
        if state is None:
            return None
        fresh = [record for record in records if record.offset >= state.next_offset]
        for batch in ranges_of(fresh):
            found = batch[0].offset
            if found != state.next_offset or batch[-1].offset - found + 1 != len(batch):
                return ChainBroken(RAW, partition, state.next_offset, found)
            try:
                judged = await state.judge.judge(batch)
            except ChainBroken as broken:  # the index cannot be restored
                return broken
            reach("before_send")
            await self._log.append(UNIQUE, partition, encode(judged))
            reach("after_send")
            state.next_offset = judged.last + 1
        return None
