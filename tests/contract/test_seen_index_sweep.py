"""The contract of the sweep of the index of seen ids, in memory and in Redis: it forgets what the
window has left, nothing else, and a bounded number of ids at a time.
"""

from typing import Any

import pytest
from redis.asyncio import Redis

from services.dedup.index import BUCKETS, Behind, SeenIndex
from services.dedup.index_memory import MemorySeenIndex
from services.dedup.index_redis import RedisSeenIndex
from services.domain.dedup import Verdict, digest_of
from tests.contract.conftest import Loop
from tests.contract.seen_index import Subject

UNIQUE, DUPLICATE = Verdict.UNIQUE, Verdict.DUPLICATE


@pytest.fixture(params=["memory", "redis"])
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param == "memory":
        return Subject(MemorySeenIndex())
    return Subject(request.getfixturevalue("redis_index"))


def bucket_of(key: str) -> int:
    return int.from_bytes(digest_of(key)[:2])


async def sweep_all(index: SeenIndex, oldest_offset: int, partition: int = 0) -> int:
    """Sweep every bucket; the number of calls it took."""
    calls, first = 0, 0
    while first < BUCKETS:
        reached = await index.sweep(partition, range(first, BUCKETS), oldest_offset)
        assert first < reached <= BUCKETS
        calls, first = calls + 1, reached
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


def test_a_sweep_keeps_to_its_buckets_and_leaves_the_mark(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.claim(("a", 0, 1), ("b", 1, 1))
        assert bucket_of("a") != bucket_of("b")
        a = bucket_of("a")
        assert await subject.index.sweep(0, range(a, a + 1), 2) == a + 1
        assert await subject.claim(("a", 2, 1), ("b", 3, 1)) == [UNIQUE, DUPLICATE]

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


async def keys_of(redis: Redis, namespace: str) -> int:
    return len([key async for key in redis.scan_iter(match=f"{namespace}*", count=10_000)])


def test_a_sweep_gives_redis_its_memory_back_in_small_steps(
    loop: Loop, redis: Redis, redis_index: RedisSeenIndex
) -> None:
    subject = Subject(redis_index)
    namespace = redis_index._namespace
    full = next(name for n in range(10**9) if bucket_of(name := f"n{n}") == BUCKETS - 1)

    async def scenario() -> None:
        for first in range(0, 9_000, 1_000):
            await subject.claim(*((f"id-{n}", n, 1) for n in range(first, first + 1_000)))
        await subject.claim((full, 9_000, 1))
        held = await keys_of(redis, namespace)
        assert held > 8_000
        assert await sweep_all(redis_index, 0) >= 3  # 9,001 ids, at most 4,000 a call
        assert await keys_of(redis, namespace) == held  # none of them had left the window
        await sweep_all(redis_index, 9_000)
        assert await keys_of(redis, namespace) == 2  # the last id and the mark

    loop.run(scenario())


def test_a_bucket_of_many_thousand_stale_ids_is_swept_at_once(
    loop: Loop, redis: Redis, redis_index: RedisSeenIndex
) -> None:
    """More than one HDEL of a script can take."""
    bucket = f"{redis_index._namespace}{{0}}:".encode() + b"\x00\x00"

    async def scenario() -> None:
        fields: dict[Any, Any] = {
            n.to_bytes(14): n.to_bytes(8) + b"\x00\x00\x00\x01" for n in range(20_000)
        }
        await redis.hset(bucket, mapping=fields)
        assert await redis_index.sweep(0, range(10), 19_999) == 1
        assert await redis.hlen(bucket) == 1

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


def test_forgetting_leaves_redis_no_key(
    loop: Loop, redis: Redis, redis_index: RedisSeenIndex
) -> None:
    namespace = redis_index._namespace

    async def scenario() -> None:
        await Subject(redis_index).claim(*((f"id-{n}", n, 1) for n in range(1_000)))
        await redis_index.forget(0)
        assert await keys_of(redis, namespace) == 0

    loop.run(scenario())
