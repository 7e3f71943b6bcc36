"""Replay over the memory adapters: the real code, crashes and company made by hand."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken
from services.projector.projection import Flush, GenerationDropped
from services.projector.projection_memory import MemoryProjection
from services.replay.generations import GenerationError, Source, State
from services.replay.generations_memory import MemoryGenerationProjection
from services.replay.level import approach
from services.runtime.log import RAW, UNIQUE
from services.runtime.metric_rows import DatedMetric
from tests.pipeline.harness import PARTITIONS, SUM_OF_BYTES
from tests.pipeline.replayed import LATE, Replayed


def same(one: MemoryProjection, other: MemoryProjection) -> bool:
    """Every aggregate, position, fate and dead letter."""
    return (
        one.aggregates == other.aggregates
        and one.held == other.held
        and one.rejections == other.rejections
        and one.conflicts == other.conflicts
        and {p: _fates(one, p) for p in one.fates} == {p: _fates(other, p) for p in other.fates}
    )


def _fates(projection: MemoryProjection, partition: int) -> tuple[int, ...]:
    fate = projection.fates[partition]
    return (fate.counted, fate.duplicates, fate.conflicts, fate.rejected, fate.unmatched)


@pytest.mark.parametrize("source", [Source.UNIQUE, Source.RAW])
@given(
    posts=st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=8), max_size=8),
    begin=st.integers(0, 8),
)
def test_a_replay_counts_what_live_counted(
    source: Source, posts: list[list[int]], begin: int
) -> None:
    async def drive() -> Replayed:
        replayed = Replayed()
        generation = None
        for number, numbers in enumerate(posts):
            if number == begin:
                generation = await replayed.replayed(source)
            await replayed.count(*numbers)
        generation = generation or await replayed.replayed(source)
        await replayed.promote(generation)
        return replayed

    replayed = asyncio.run(drive())
    assert same(replayed.counted(0), replayed.counted(1))
    assert replayed.total(1) == sum(2**n for n in {n for numbers in posts for n in numbers})


@pytest.mark.parametrize("source", [Source.UNIQUE, Source.RAW])
def test_traffic_goes_on_after_a_promotion_and_after_a_rollback(source: Source) -> None:
    async def drive() -> Replayed:
        replayed = Replayed()
        await replayed.count(0, 1, 2, 1)
        generation = await replayed.replayed(source)
        await replayed.count(3, 2)
        await replayed.promote(generation)
        await replayed.count(4, 0)
        assert replayed.total(1) == 2**5 - 1
        assert replayed.total(0) == 2**4 - 1
        first = await replayed.generations.get(0)
        await replayed.promote(first, back=True)
        await replayed.count(5)
        assert await replayed.generations.live() == 0
        assert replayed.total(0) == 2**6 - 1
        await replayed.promote(await replayed.generations.get(1))
        await replayed.count(6, 5)
        return replayed

    assert asyncio.run(drive()).total(1) == 2**7 - 1


class Killed(Exception):
    """The replay's process ends here."""


@pytest.mark.parametrize("source", [Source.UNIQUE, Source.RAW])
@pytest.mark.parametrize("applied", [False, True])
def test_a_killed_replay_goes_on_where_it_was(source: Source, *, applied: bool) -> None:
    class Dying(MemoryGenerationProjection):
        async def apply(self, flush: Flush) -> None:
            if applied:
                await super().apply(flush)
            raise Killed

    async def drive() -> Replayed:
        replayed = Replayed()
        for number in range(10):
            await replayed.count(number, max(number - 3, 0))
        generation = await replayed.generations.create(source)
        for _ in range(3):
            build = replayed.build(generation)
            build._projection = Dying(replayed.generations, generation.id)
            with pytest.raises(Killed):
                await approach(replayed.generations, build, generation.id)
            replayed.index.seen.clear()  # and what it had seen is gone too
            replayed.index.marks.clear()
            await replayed.count(10)
        await approach(replayed.generations, replayed.build(generation), generation.id)
        return replayed

    replayed = asyncio.run(drive())
    assert same(replayed.counted(0), replayed.counted(1))


def test_two_replays_of_one_generation_count_once() -> None:
    async def drive() -> Replayed:
        replayed = Replayed()
        for number in range(8):
            await replayed.count(number)
        generation = await replayed.generations.create(Source.UNIQUE)
        builds = [replayed.build(generation) for _ in range(3)]
        await asyncio.gather(*(approach(replayed.generations, b, generation.id) for b in builds))
        return replayed

    replayed = asyncio.run(drive())
    assert same(replayed.counted(0), replayed.counted(1))


def test_a_metric_made_later_counts_what_came_before_it() -> None:
    async def drive() -> Replayed:
        replayed = Replayed()
        await replayed.count(0, 1)
        replayed.metrics.append(DatedMetric(LATE, 2, None))
        replayed.pipeline.catalogs.catalog = Catalog(2, (SUM_OF_BYTES, LATE))
        await replayed.count(2)
        await replayed.promote(await replayed.replayed())
        await replayed.count(3)
        return replayed

    replayed = asyncio.run(drive())
    counts = {
        generation: sum(
            a.count
            for key, a in replayed.counted(generation).aggregates.items()
            if key.metric_id == LATE.id
        )
        for generation in (0, 1)
    }
    assert counts == {0: 1, 1: 4}


@pytest.mark.parametrize("begun", [True, False])
def test_a_promotion_waits_for_what_was_rated_before_the_metric_was_made(
    monkeypatch: pytest.MonkeyPatch, *, begun: bool
) -> None:
    """Counted live afterwards, it would miss the metric, and no replay had counted it either."""
    monkeypatch.setattr("services.replay.level.OLDER_WAIT_S", 0)

    async def drive() -> Replayed:
        replayed = Replayed()
        pipeline = replayed.pipeline
        if begun:
            await replayed.count(0, 1)
        replayed.post(2, 3)
        for partition in range(PARTITIONS):
            await pipeline.run_dedup(partition)
            await pipeline.run_rating(partition)
        replayed.metrics.append(DatedMetric(LATE, 2, None))
        pipeline.catalogs.catalog = Catalog(2, (SUM_OF_BYTES, LATE))
        generation = await replayed.replayed()
        with pytest.raises(GenerationError, match="before catalog version 2"):
            await replayed.promote(generation)
        for partition in range(PARTITIONS):
            await pipeline.run_projector(partition)
        await replayed.promote(generation)
        return replayed

    counted = asyncio.run(drive()).counted(1).aggregates
    late = sum(a.count for key, a in counted.items() if key.metric_id == LATE.id)
    assert late == (4 if begun else 2)


def test_an_archived_metric_keeps_what_it_counted_and_counts_nothing_new() -> None:
    async def drive() -> Replayed:
        replayed = Replayed()
        await replayed.count(0, 1)
        replayed.metrics[0] = DatedMetric(SUM_OF_BYTES, 1, 2)
        replayed.pipeline.catalogs.catalog = Catalog(2, ())
        await replayed.count(2)
        await replayed.replayed()
        return replayed

    replayed = asyncio.run(drive())
    assert replayed.total(0) == replayed.total(1) == 3
    assert same(replayed.counted(0), replayed.counted(1))


def test_from_raw_finds_what_dedup_got_wrong() -> None:
    """The check on dedup: a verdict in usage.unique that usage.raw does not bear out shows."""

    async def drive() -> Replayed:
        replayed = Replayed()
        await replayed.count(0, 1)
        replayed.pipeline.index.seen.clear()  # the ids are lost, the mark claims that they are not
        await replayed.count(0)
        await replayed.replayed(Source.UNIQUE)
        await replayed.replayed(Source.RAW)
        return replayed

    replayed = asyncio.run(drive())
    assert [replayed.total(generation) for generation in (0, 1, 2)] == [4, 4, 3]


@pytest.mark.parametrize(("source", "topic"), [(Source.UNIQUE, UNIQUE), (Source.RAW, RAW)])
def test_a_log_that_no_longer_reaches_back_is_said(source: Source, topic: str) -> None:
    async def drive() -> None:
        replayed = Replayed()
        for number in range(6):
            await replayed.count(number)
        for partition in range(PARTITIONS):
            del replayed.pipeline.log.partitions[topic, partition][:1]
        await replayed.replayed(source)

    with pytest.raises(ChainBroken, match=topic):
        asyncio.run(drive())


def test_nothing_is_promoted_that_stands_elsewhere() -> None:
    async def drive() -> None:
        replayed = Replayed()
        await replayed.count(0)
        generation = await replayed.generations.create(Source.UNIQUE)
        async with replayed.generations.hold_live() as held:
            await held.promote(generation.id, back=False)

    with pytest.raises(GenerationError, match="elsewhere"):
        asyncio.run(drive())


def test_a_dropped_generation_takes_nothing_more() -> None:
    async def drive() -> None:
        replayed = Replayed()
        await replayed.count(0)
        generation = await replayed.replayed()
        build = replayed.build(generation)
        await replayed.count(1)
        await replayed.generations.drop(generation.id)
        assert (await replayed.generations.get(generation.id)).state is State.DROPPED
        await approach(replayed.generations, build, generation.id)

    with pytest.raises(GenerationDropped):
        asyncio.run(drive())
