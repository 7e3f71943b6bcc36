"""The contract of the sweep of the index of seen ids, in memory and in Redis: it forgets what the
window has left, nothing else, and a bounded number of ids at a time.
"""

import pytest
from redis.asyncio import Redis

from services.dedup.index import Behind, SeenIndex
from services.dedup.index_memory import MemorySeenIndex
from services.dedup.index_redis import RedisSeenIndex
from services.domain.dedup import Verdict
from tests.contract.conftest import Loop
from tests.contract.seen_index import Subject

UNIQUE, DUPLICATE = Verdict.UNIQUE, Verdict.DUPLICATE


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        return Subject(MemorySeenIndex())
    return Subject(request.getfixturevalue("redis_index"))


async def sweep_all(index: SeenIndex, oldest_offset: int, partition: int = 0) -> int:
    """A whole pass; the number of calls it took."""
    calls, cursor = 1, await index.sweep(partition, 0, oldest_offset)
    while cursor:
        calls, cursor = calls + 1, await index.sweep(partition, cursor, oldest_offset)
    return calls


def test_a_sweep_removes_what_the_window_has_left_and_nothing_else(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        await subject.claim(*((f"id-{n}", n, 1) for n in range(40)))
        await subject.claim(("id-3", 0, 1), partition=1)
        await sweep_all(subject.index, 25)
        # Judged as if the window had not moved, so that what was swept shows.
        again = [(f"id-{n}", 40 + n, 1) for n in range(40)]
        assert await subject.claim(*again) == [UNIQUE] * 25 + [DUPLICATE] * 15
        assert await subject.claim(("id-3", 1, 1), partition=1) == [DUPLICATE]

    loop.run(scenario())


def test_a_sweep_leaves_the_mark_and_the_other_partitions(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1), ("b", 1, 1))
        await subject.claim(("a", 0, 1), partition=1)
        await sweep_all(subject.index, 1)
        assert await subject.claim(("a", 2, 1), ("b", 3, 1)) == [UNIQUE, DUPLICATE]
        assert await subject.claim(("a", 1, 1), partition=1) == [DUPLICATE]

    loop.run(scenario())


def test_a_sweep_keeps_the_second_life_of_an_id(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1))
        await subject.claim(("a", 1, 1), oldest=1)
        await sweep_all(subject.index, 1)
        assert await subject.claim(("a", 2, 1), oldest=1) == [DUPLICATE]

    loop.run(scenario())


def test_a_sweep_compares_offsets_beyond_32_bits(loop: Loop, subject: Subject) -> None:
    far = 2**32 + 5

    async def scenario() -> None:
        await subject.claim(("a", far, 1), ("b", far + 1, 1), start=far)
        await sweep_all(subject.index, far + 1)
        assert await subject.claim(("a", far + 2, 1), ("b", far + 3, 1)) == [UNIQUE, DUPLICATE]

    loop.run(scenario())


@pytest.mark.parametrize("small", [False, True])
def test_a_sweep_goes_in_small_steps_and_meets_every_id(
    loop: Loop, redis: Redis, redis_index: RedisSeenIndex, *, small: bool
) -> None:
    """`small`: as Redis keeps a small hash, which it scans in one go, however large that may be by
    its configuration; more stale ids than one HDEL of a script can take."""
    subject = Subject(redis_index)
    ids = f"{redis_index._namespace}{{0}}:2:ids"

    async def scenario() -> None:
        limit = "hash-max-listpack-entries"
        before = (await redis.config_get(limit))[limit]
        await redis.config_set(limit, 20_000 if small else 0)
        try:
            for first in range(0, 9_000, 1_000):
                await subject.claim(*((f"id-{n}", n, 1) for n in range(first, first + 1_000)))
            calls = await sweep_all(redis_index, 0)
            assert calls == 1 if small else calls >= 4  # at most 2,000 ids a call, or all at once
            assert await redis.hlen(ids) == 9_000  # none of them had left the window
            await sweep_all(redis_index, 8_999)
            assert await redis.hlen(ids) == 1
        finally:
            await redis.config_set(limit, str(before))

    loop.run(scenario())


def test_a_forgotten_partition_knows_nothing_and_the_others_stay(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        for partition in (1, 11):
            await subject.claim(*((f"id-{n}", n, 1) for n in range(300)), partition=partition)
        await subject.index.forget(1)
        assert await subject.claim(("id-0", 300, 1), partition=1) == Behind(None)
        again = [(f"id-{n}", 300 + n, 1) for n in range(300)]
        assert await subject.claim(*again, partition=1, start=300) == [UNIQUE] * 300
        assert await subject.claim(*again, partition=11) == [DUPLICATE] * 300

    loop.run(scenario())


async def keys_of(redis: Redis, namespace: str) -> int:
    """Keys that an index has."""
    return len([key async for key in redis.scan_iter(match=f"{namespace}*", count=10_000)])


def test_forgetting_leaves_redis_no_key(
    loop: Loop, redis: Redis, redis_index: RedisSeenIndex
) -> None:
    namespace = redis_index._namespace

    async def scenario() -> None:
        await Subject(redis_index).claim(*((f"id-{n}", n, 1) for n in range(1_000)))
        await redis_index.forget(0)
        assert await keys_of(redis, namespace) == 0

    loop.run(scenario())


def test_what_an_older_layout_left_is_never_read_and_goes(
    loop: Loop, redis: Redis, redis_index: RedisSeenIndex
) -> None:
    """Layout 1: a mark, and a hash for each two bytes of the digests."""
    subject, namespace = Subject(redis_index), redis_index._namespace

    async def scenario() -> None:
        older = RedisSeenIndex(redis, f"{namespace}g7")  # a replay's, which has its own end
        for name in (namespace, f"{namespace}g7"):
            for partition in (0, 3):
                await redis.set(f"{name}{{{partition}}}:mark", 9)
                for bucket in range(300):
                    key = f"{name}{{{partition}}}:".encode() + bucket.to_bytes(2)
                    await redis.hset(key, bytes(14), bytes(12))
        assert await subject.claim(("a", 10, 1), start=-1) == Behind(None)
        await subject.restore(9, ("b", 0, 1))
        assert await redis_index.drop_older(4)
        assert await subject.claim(("a", 10, 1), ("b", 11, 1)) == [UNIQUE, DUPLICATE]
        assert not await redis_index.drop_older(4)
        assert await keys_of(redis, f"{namespace}{{") == 2
        assert await keys_of(redis, f"{namespace}g7") == 602
        await older.clear()
        assert await keys_of(redis, namespace) == 2

    loop.run(scenario())
