"""What every contract suite needs: one event loop for the module, so that connections outlive a
test, and fresh places on real servers.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from services.dedup.index_redis import RedisSeenIndex
from services.runtime.migrate import migrate
from services.runtime.postgres import connect, connect_pool
from tests.conftest import Servers

Result = TypeVar("Result")


class Loop:
    """Runs coroutines one after the other on the same loop."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def run(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """The coroutine's result."""
        return self._runner.run(coroutine)


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """The module's event loop."""
    with asyncio.Runner() as runner:
        yield Loop(runner)


@pytest.fixture(scope="module")
def database_url(loop: Loop, servers: Servers) -> Iterator[str]:
    """A database of its own with the schema in it, dropped afterwards."""
    name = f"contract_{uuid4().hex}"
    url = urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    loop.run(_execute(servers.database_url, f"CREATE DATABASE {name}"))
    loop.run(migrate(url))
    yield url
    loop.run(_execute(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def pool(loop: Loop, database_url: str) -> Iterator[asyncpg.Pool]:
    """Connections to that database."""
    pool = loop.run(connect_pool(database_url, size_max=4))
    yield pool
    loop.run(pool.close())


async def _execute(url: str, statement: str) -> None:
    connection = await connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def redis(loop: Loop, servers: Servers) -> Iterator[Redis]:
    """A client of the real Redis."""
    client = Redis.from_url(servers.redis_url)
    yield client
    loop.run(client.aclose())


async def _forget(redis: Redis, namespace: str) -> None:
    async for key in redis.scan_iter(match=f"{namespace}*"):
        await redis.delete(key)


@pytest.fixture
def redis_index(redis: Redis, loop: Loop) -> Iterator[RedisSeenIndex]:
    """An empty index in the real Redis."""
    namespace = f"contract-{uuid4().hex}"
    yield RedisSeenIndex(redis, namespace)
    loop.run(_forget(redis, namespace))
