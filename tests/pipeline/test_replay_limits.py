"""What a replay refuses, and how long it may hold live counting."""

import asyncio

import pytest

from services.replay import level as level_module
from services.replay.build import Build
from services.replay.generations import GenerationError, Source
from services.replay.level import level
from services.replay.reach import check_reach
from services.runtime.log import RATED, RAW, UNIQUE
from tests.pipeline.harness import PARTITIONS
from tests.pipeline.replayed import Replayed


@pytest.mark.parametrize(
    ("source", "topic", "advice"),
    [
        (Source.RAW, RAW, "--from unique"),
        (Source.UNIQUE, UNIQUE, "cannot be counted again"),
        (Source.UNIQUE, RATED, "cannot be counted again"),
        (Source.RAW, RATED, "cannot be counted again"),
    ],
)
def test_a_log_that_begins_too_late_is_refused_before_anything_is_made(
    source: Source, topic: str, advice: str
) -> None:
    async def drive() -> None:
        replayed = Replayed()
        for number in range(8):
            await replayed.count(number)
        await check_reach(replayed.pipeline.log, source, range(PARTITIONS))
        for partition in range(PARTITIONS):
            replayed.pipeline.log.truncate(topic, partition, 1)
        await check_reach(replayed.pipeline.log, source, range(PARTITIONS))

    with pytest.raises(GenerationError, match=advice) as refusal:
        asyncio.run(drive())
    assert topic in str(refusal.value)


def test_a_transaction_ends_where_it_is_full_and_the_next_goes_on_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.replay.build.OFFSETS_MAX", 2)
    monkeypatch.setattr("services.runtime.log_memory.READ_MAX", 1)

    async def drive() -> list[tuple[int, int]]:
        replayed = Replayed()
        for number in range(12):
            await replayed.count(number)
        generation = await replayed.generations.create(Source.UNIQUE)
        build = replayed.build(generation)
        moved: list[tuple[int, int]] = []
        build._progress = lambda partition, next_raw: moved.append((partition, next_raw))
        await build.catch_up(await replayed.generations.positions(0))
        assert replayed.total(generation.id) == replayed.total(0) == 2**12 - 1
        return moved

    moved = asyncio.run(drive())
    for partition in {partition for partition, _ in moved}:
        reached = [next_raw for own, next_raw in moved if own == partition]
        assert reached == [*range(2, reached[-1], 2), reached[-1]]


def test_unique_does_not_ask_for_the_beginning_of_raw() -> None:
    async def drive() -> None:
        replayed = Replayed()
        for number in range(8):
            await replayed.count(number)
        for partition in range(PARTITIONS):
            replayed.pipeline.log.truncate(RAW, partition, 1)
        await check_reach(replayed.pipeline.log, Source.UNIQUE, range(PARTITIONS))

    asyncio.run(drive())


def test_a_replay_that_hangs_lets_live_counting_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(level_module, "HELD_S_MAX", 0.05)

    async def drive() -> Replayed:
        replayed = Replayed()
        await replayed.count(0)
        generation = await replayed.replayed()
        build = replayed.build(generation)
        catch_up = build.catch_up

        async def hanging(self: Build, *arguments: object) -> None:
            if replayed.generations.held.locked():
                await asyncio.sleep(3600)
            await catch_up(*arguments)  # type: ignore[arg-type]  # passed through

        monkeypatch.setattr(Build, "catch_up", hanging)
        with pytest.raises(GenerationError, match="nothing was changed"):
            async with level(replayed.generations, build, generation.id, promoting=True):
                pass
        await replayed.count(1)
        return replayed

    assert asyncio.run(drive()).total(0) == 3
