"""The contract of the index of seen ids, in memory and in Redis: verdicts, the mark, restoring."""

import random

import pytest
from redis.asyncio import Redis

from services.dedup.index import Behind, Claims, Judged
from services.dedup.index_memory import MemorySeenIndex
from services.dedup.index_redis import EvictingRedis, RedisSeenIndex
from services.domain.chain import Range
from services.domain.dedup import Verdict
from tests.contract.conftest import Loop
from tests.contract.seen_index import Subject

UNIQUE, DUPLICATE, CONFLICT = Verdict.UNIQUE, Verdict.DUPLICATE, Verdict.CONFLICT
SEEDS = range(12)


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        return Subject(MemorySeenIndex())
    return Subject(request.getfixturevalue("redis_index"))


def test_the_first_sighting_is_unique_and_later_ones_are_not(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        assert await subject.claim(("a", 0, 1), ("b", 1, 2)) == [UNIQUE, UNIQUE]
        assert await subject.claim(("a", 2, 1), ("b", 3, 9)) == [DUPLICATE, CONFLICT]
        assert await subject.claim(("a", 4, 9), ("c", 5, 1)) == [CONFLICT, UNIQUE]

    loop.run(scenario())


def test_a_repeat_within_one_range_is_a_duplicate(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        verdicts = await subject.claim(("a", 0, 1), ("a", 1, 1), ("a", 2, 2), ("b", 3, 1))
        assert verdicts == [UNIQUE, DUPLICATE, CONFLICT, UNIQUE]

    loop.run(scenario())


def test_a_conflict_names_the_first_sighting(loop: Loop, subject: Subject) -> None:
    far = 2**53 + 1  # beyond what a Lua number holds exactly

    async def scenario() -> None:
        await subject.claim(("a", 0, 1), ("b", 1, 1))
        taken = (("b", 2, 1), ("b", 3, 2), ("c", 4, 1), ("a", 5, 2), ("c", 6, 3))
        for _ in range(2):  # a redelivery says the same
            assert await subject.judge(*taken) == Judged(
                {2: DUPLICATE, 3: CONFLICT, 5: CONFLICT, 6: CONFLICT}, {3: 1, 5: 0, 6: 4}
            )
        # Its second life, once the first is forgotten, is then the first sighting.
        await subject.claim(("a", 7, 9), oldest=7)
        assert await subject.judge(("a", 8, 1), oldest=7) == Judged({8: CONFLICT}, {8: 7})
        await subject.restore(far, ("far", far, 1), first=8)
        assert await subject.judge(("far", far + 1, 2)) == Judged(
            {far + 1: CONFLICT}, {far + 1: far}
        )

    loop.run(scenario())


def test_a_redelivered_range_gets_the_same_verdicts_however_often(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1))
        taken = (("a", 1, 1), ("b", 2, 1), ("b", 3, 7), ("c", 4, 1))
        verdicts = [await subject.claim(*taken) for _ in range(3)]
        assert verdicts == [[DUPLICATE, UNIQUE, CONFLICT, UNIQUE]] * 3
        assert await subject.claim(("c", 5, 1)) == [DUPLICATE]

    loop.run(scenario())


def test_an_id_is_forgotten_once_its_first_offset_is_below_the_window(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1), ("b", 1, 1))
        assert await subject.claim(("a", 2, 1), ("b", 3, 1), oldest=1) == [UNIQUE, DUPLICATE]
        # It is remembered anew from its second life on.
        assert await subject.claim(("a", 4, 1), ("a", 5, 2), oldest=2) == [DUPLICATE, CONFLICT]

    loop.run(scenario())


def test_a_forgotten_id_with_other_content_is_no_conflict(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1))
        assert await subject.claim(("a", 1, 2), oldest=1) == [UNIQUE]
        assert await subject.claim(("a", 2, 2), oldest=1) == [DUPLICATE]

    loop.run(scenario())


def test_partitions_know_nothing_of_each_other(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        assert await subject.claim(("a", 0, 1), partition=1) == [UNIQUE]
        assert await subject.claim(("a", 0, 1), partition=11) == [UNIQUE]
        assert await subject.claim(("b", 1, 1), partition=2) == Behind(None)

    loop.run(scenario())


def test_an_empty_index_is_behind_unless_the_log_begins_there(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        assert await subject.claim(("a", 7, 1), start=-1) == Behind(None)
        assert await subject.claim(("a", 7, 1), start=7) == [UNIQUE]
        assert await subject.claim(("a", 8, 1), start=-1) == [DUPLICATE]

    loop.run(scenario())


def test_behind_names_the_mark_and_changes_nothing(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1), upto=9)
        assert await subject.claim(("b", 11, 1)) == Behind(9)
        assert await subject.claim(("b", 11, 1)) == Behind(9)
        # Had the refused claims been taken, b would be a duplicate now.
        assert await subject.claim(("b", 10, 1)) == [UNIQUE]

    loop.run(scenario())


def test_the_mark_never_goes_back(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1), upto=9)
        await subject.claim(("a", 0, 1), upto=4)
        await subject.restore(2)
        assert await subject.claim(("b", 10, 1)) == [UNIQUE]

    loop.run(scenario())


def test_a_range_without_events_moves_the_mark(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        empty = await subject.index.claim(0, Range(0, 4), Claims(), chain_start=0, oldest_offset=0)
        assert empty == Judged()
        assert await subject.claim(("a", 5, 1)) == [UNIQUE]

    loop.run(scenario())


def test_what_was_restored_is_known_and_the_mark_with_it(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        assert await subject.claim(("a", 6, 1)) == Behind(None)
        await subject.restore(3, ("a", 0, 1), ("b", 2, 1))
        assert await subject.claim(("a", 6, 1)) == Behind(3)
        await subject.restore(5, ("c", 5, 1))
        verdicts = await subject.claim(("a", 6, 1), ("b", 7, 2), ("c", 8, 1), ("d", 9, 1))
        assert verdicts == [DUPLICATE, CONFLICT, DUPLICATE, UNIQUE]

    loop.run(scenario())


def test_an_index_that_forgets_again_while_it_is_restored_does_not_look_whole(
    loop: Loop, subject: Subject
) -> None:
    """The rest of a restore must not move the mark over what was forgotten meanwhile."""

    async def scenario() -> None:
        assert await subject.restore(5, ("b", 4, 1), first=4, anew=False) == Behind(None)
        assert await subject.claim(("b", 6, 1)) == Behind(None)
        assert await subject.restore(3, ("a", 0, 1), first=2, anew=True) is None
        assert await subject.restore(9, ("c", 8, 1), first=6, anew=False) == Behind(3)
        assert await subject.restore(9, ("c", 8, 1), first=6, anew=True) == Behind(3)
        assert await subject.restore(5, ("b", 4, 1), first=4, anew=False) is None
        assert await subject.claim(("a", 6, 1), ("b", 7, 1), ("c", 8, 1)) == [
            DUPLICATE, DUPLICATE, UNIQUE,
        ]  # fmt: skip

    loop.run(scenario())


def test_restoring_keeps_the_newer_life_of_an_id(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.restore(9, ("a", 8, 2))
        await subject.restore(9, ("a", 0, 1))
        assert await subject.claim(("a", 10, 2), oldest=5) == [DUPLICATE]

    loop.run(scenario())


def test_offsets_beyond_32_bits_are_exact(loop: Loop, subject: Subject) -> None:
    far = 2**32 + 5

    async def scenario() -> None:
        assert await subject.claim(("a", far, 1), start=far) == [UNIQUE]
        assert await subject.claim(("a", far + 1, 1), oldest=far) == [DUPLICATE]
        assert await subject.claim(("a", far + 2, 1), oldest=far + 1) == [UNIQUE]
        assert await subject.claim(("b", far + 4, 1)) == Behind(far + 2)

    loop.run(scenario())


def test_offsets_beyond_40_bits_are_exact_and_meet_those_below(
    loop: Loop, subject: Subject
) -> None:
    """Redis keeps them at another width from there on."""
    far = 2**40 - 2

    async def scenario() -> None:
        low = (("a", far, 1), ("b", far + 1, 2**24 - 1))
        assert await subject.claim(*low, start=far) == [UNIQUE, UNIQUE]
        high = (("a", far + 2, 2), ("b", far + 3, 2**24 - 1), ("c", far + 4, 7))
        for _ in range(2):
            assert await subject.judge(*high) == Judged(
                {far + 2: CONFLICT, far + 3: DUPLICATE}, {far + 2: far}
            )
        # The same sightings in a range that goes further: they are redeliveries at any width.
        assert await subject.claim(*low, ("d", far + 5, 1), start=far) == [UNIQUE] * 3
        assert await subject.claim(("c", far + 6, 7), ("d", far + 7, 2)) == [DUPLICATE, CONFLICT]
        assert await subject.claim(("b", far + 8, 1), oldest=far + 2) == [UNIQUE]
        await subject.restore(far + 9, ("a", far - 1, 1), ("a", far + 9, 9), first=far - 1)
        assert await subject.claim(("a", far + 10, 9), oldest=far + 9) == [DUPLICATE]

    loop.run(scenario())


def test_repeats_within_a_range_of_an_id_that_was_known_or_forgotten(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1), ("b", 1, 1))
        taken = (("a", 2, 1), ("b", 3, 1), ("a", 4, 1), ("b", 5, 2), ("a", 6, 2))
        for _ in range(2):  # a is forgotten, b is not
            assert await subject.judge(*taken, oldest=1) == Judged(
                {3: DUPLICATE, 4: DUPLICATE, 5: CONFLICT, 6: CONFLICT}, {5: 1, 6: 2}
            )

    loop.run(scenario())


def test_a_thousand_ids_at_once(loop: Loop, subject: Subject) -> None:
    posted = [(f"id-{number}", number, number * 7_919 % 2**24) for number in range(1_000)]
    again = [(key, offset + 1_000, content) for key, offset, content in posted]

    async def scenario() -> None:
        assert await subject.claim(*posted) == [UNIQUE] * 1_000
        assert await subject.claim(*again) == [DUPLICATE] * 1_000

    loop.run(scenario())


@pytest.mark.parametrize("seed", SEEDS)
def test_redis_decides_as_memory_does(loop: Loop, redis_index: RedisSeenIndex, seed: int) -> None:
    """Random claims, redeliveries, windows, gaps and restores: each answer the same."""
    draw = random.Random(seed)
    memory, redis = Subject(MemorySeenIndex()), Subject(redis_index)

    async def scenario() -> None:
        mark = -1
        for step in range(40):
            first = max(0, mark + 1 + draw.choice([0, 0, 0, 0, -3, -10, 2]))
            count = draw.randint(1, 12)
            taken = [
                (f"{draw.randint(0, 20)}", first + n, draw.randint(1, 2)) for n in range(count)
            ]
            oldest = max(0, first - draw.choice([5, 20, 1_000]))
            if draw.random() < 0.1:
                assert await memory.index.sweep(0, 0, oldest) == 0
                assert await redis.index.sweep(0, 0, oldest) == 0
                continue
            if draw.random() < 0.15:
                anew = draw.random() < 0.5
                behind = await memory.restore(taken[-1][1], *taken, first=first, anew=anew)
                assert behind == await redis.restore(
                    taken[-1][1], *taken, first=first, anew=anew
                ), f"seed {seed} step {step}"
                if behind is None:
                    mark = max(mark, taken[-1][1])
                continue
            expected = await memory.judge(*taken, oldest=oldest)
            assert await redis.judge(*taken, oldest=oldest) == expected, f"seed {seed} step {step}"
            if not isinstance(expected, Behind):
                mark = max(mark, taken[-1][1])

    loop.run(scenario())


def test_a_redis_that_may_evict_is_refused_and_says_what_to_set(loop: Loop, redis: Redis) -> None:
    index = RedisSeenIndex(redis, "contract")

    async def scenario() -> None:
        await index.check_eviction()
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(EvictingRedis, match=r"allkeys-lru.*noeviction"):
                await index.check_eviction()
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")

    loop.run(scenario())
