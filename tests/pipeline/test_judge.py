"""What a replay relies on: usage.raw judged afresh, with an index of its own and ranges cut
anywhere, gives every raw offset the fate that the live stage gave it; a record folded in parts is
what it is folded whole.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dedup.index_memory import MemorySeenIndex
from services.dedup.judge import RangeJudge
from services.domain.chain import Range
from services.domain.number import ZERO, add
from services.rating.fold import rated_batch
from services.runtime.log import RAW, UNIQUE, Record
from services.runtime.log_memory import MemoryLog
from services.runtime.records import RatedBatch, UniqueBatch, decode_unique, decode_unique_events
from tests.pipeline.harness import PARTITIONS, Pipeline, event

# (id, amount) of an event, or None for junk.
posts = st.lists(st.none() | st.tuples(st.integers(0, 9), st.sampled_from("17x")), max_size=60)
places = st.sets(st.integers(1, 60))


def posted(given_posts: list[tuple[int, str] | None]) -> Pipeline:
    """A pipeline that has taken all of them."""
    pipeline = Pipeline()
    for post in given_posts:
        if post is None:
            pipeline.log.put(RAW, 0, b"x", b"junk")
        else:
            pipeline.post(event(str(post[0]), post[1]))
    asyncio.run(pipeline.run())
    return pipeline


def fates(batches: Sequence[UniqueBatch]) -> dict[int, object]:
    """Raw offset -> its fate, with the bytes of what goes on."""
    found: dict[int, object] = {}
    for batch in batches:
        found.update(dict.fromkeys(range(batch.first, batch.last + 1), "duplicate"))
        events = zip(batch.offsets, batch.events, strict=True)
        found.update({batch.first + offset: bytes(raw) for offset, raw in events})
        found.update(
            {batch.first + c.offset: (c.first_offset, c.transaction_id) for c in batch.conflicts}
        )
        found.update({batch.first + r.offset: (r.reason, r.key, r.value) for r in batch.rejected})
    return found


def totals(batches: Sequence[RatedBatch]) -> dict[tuple[str | None, int], Decimal]:
    """Bytes by region and hour."""
    sums: dict[tuple[str | None, int], Decimal] = {}
    for part in (
        tally for batch in batches for metric in batch.metrics for tally in metric.tallies
    ):
        key = (part.group[0], part.hour)
        for total in part.totals:
            sums[key] = add(sums.get(key, ZERO), Decimal(total))
    return sums


def parts(size: int, cuts: set[int]) -> list[tuple[int, int]]:
    """[0, size) cut at some places."""
    return list(pairwise(sorted({0, size} | {cut for cut in cuts if cut < size})))


class Replay:
    """Judges one partition of usage.raw with an index of its own, which it rebuilds from usage.raw
    when that is lost."""

    def __init__(self, log: MemoryLog, partition: int, index: MemorySeenIndex) -> None:
        self.records: Sequence[Record] = log.partitions[RAW, partition]
        self.rebuilt = 0
        self.log, self.index, self.partition = log, index, partition
        self.upto = 0
        self.judge = RangeJudge(
            log, index, self.rebuild,
            partition=partition, partition_count=PARTITIONS, chain_start=0,
        )  # fmt: skip

    async def rebuild(self, mark: int | None, oldest_offset: int) -> None:
        """Judge what came before again."""
        assert (mark, oldest_offset) == (None, 0)
        self.rebuilt += 1
        await Replay(self.log, self.partition, self.index).take(0, self.upto)

    async def take(self, first: int, end: int) -> UniqueBatch:
        """Judge [first, end)."""
        self.upto = first
        return await self.judge.judge(self.records[first:end])


@given(posts, places, st.sets(st.integers(0, 10)))
def test_a_replay_from_raw_gives_every_offset_the_fate_it_had_live(
    given_posts: list[tuple[int, str] | None], cuts: set[int], lost_before: set[int]
) -> None:
    """`lost_before`: the numbers of the ranges before which the replay's index is lost."""
    pipeline = posted(given_posts)

    async def replayed(partition: int) -> tuple[list[UniqueBatch], int, int]:
        index = MemorySeenIndex()
        replay = Replay(pipeline.log, partition, index)
        batches, lost = [], 0
        for number, (first, end) in enumerate(parts(len(replay.records), cuts)):
            if number in lost_before and number:
                index.seen.clear()
                index.marks.clear()
                lost += 1
            batches.append(await replay.take(first, end))
        return batches, lost, replay.rebuilt

    for partition in range(PARTITIONS):
        live = [decode_unique(r.value, "") for r in pipeline.log.partitions[UNIQUE, partition]]
        if not live:
            continue
        batches, lost, rebuilt = asyncio.run(replayed(partition))
        assert fates(batches) == fates(live)
        assert rebuilt == lost


def test_without_the_rebuilding_a_lost_index_gives_other_fates() -> None:
    """Negative control of the test above."""
    pipeline = Pipeline()
    pipeline.post(event("a"), event("a"))
    partition = next(p for p in range(PARTITIONS) if pipeline.log.partitions[RAW, p])

    async def replayed() -> UniqueBatch:
        index = MemorySeenIndex()
        replay = Replay(pipeline.log, partition, index)
        await replay.take(0, 1)
        index.seen.clear()  # and the mark pretends that nothing was lost
        return await replay.take(1, 2)

    assert asyncio.run(replayed()).offsets == [0]


def test_an_index_that_stays_behind_after_restoring_is_an_error() -> None:
    pipeline = Pipeline()
    pipeline.post(event("a"), event("a"))
    partition = next(p for p in range(PARTITIONS) if pipeline.log.partitions[RAW, p])

    class Idle(Replay):
        async def rebuild(self, mark: int | None, oldest_offset: int) -> None:
            """Nothing."""

    with pytest.raises(RuntimeError, match=rf"partition {partition} lost its mark"):
        asyncio.run(Idle(pipeline.log, partition, MemorySeenIndex()).take(1, 2))


@given(posts, places)
def test_a_record_folded_in_parts_is_what_it_is_folded_whole(
    given_posts: list[tuple[int, str] | None], cuts: set[int]
) -> None:
    pipeline = posted(given_posts)
    catalog = pipeline.catalogs.catalog
    for partition in range(PARTITIONS):
        for record in pipeline.log.partitions[UNIQUE, partition]:
            batch = decode_unique_events(record.value, "")
            whole = rated_batch(record, batch, Range(batch.first, batch.last), catalog)
            folded = [
                rated_batch(
                    record, batch, Range(batch.first + first, batch.first + end - 1), catalog
                )
                for first, end in parts(batch.last - batch.first + 1, cuts)
            ]
            for name in ("counted", "duplicates", "conflicts", "rejected", "unmatched"):
                assert sum(getattr(p, name) for p in folded) == getattr(whole, name)
            for part in folded:
                assert part.counted + part.duplicates + part.rejected == part.last - part.first + 1
            assert totals(folded) == totals([whole])
            assert [c for p in folded for c in p.conflicting] == whole.conflicting
            rejected = [rejection for p in folded for rejection in p.rejections]
            assert sorted(rejected, key=lambda r: r.offset) == sorted(
                whole.rejections, key=lambda r: r.offset
            )
