"""An event loop for a module and a Redis client, for steps driven by hand on real servers."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from tests.conftest import Servers
from tests.contract.conftest import Loop


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """The module's event loop."""
    with asyncio.Runner() as runner:
        yield Loop(runner)


@pytest.fixture(scope="module")
def redis(loop: Loop, servers: Servers) -> Iterator[Redis]:
    """A client of the real Redis."""
    client = Redis.from_url(servers.redis_url)
    yield client
    loop.run(client.aclose())


@pytest.fixture
def namespace(loop: Loop, redis: Redis) -> Iterator[str]:
    """Prefix of keys that are gone afterwards."""
    name = f"stages-{uuid4().hex}"
    yield name
    loop.run(_forget(redis, name))


async def _forget(redis: Redis, namespace: str) -> None:
    async for key in redis.scan_iter(match=f"{namespace}*", count=10_000):
        await redis.delete(key)
