"""A world in which the time is a test's: usage is accepted by a log in memory, counted, priced and
finalized in a real PostgreSQL, and the API is asked by raw requests and by the official client.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from metronome import AsyncMetronome

from services.api.app import create_app
from services.runtime.postgres import connect_pool
from services.runtime.tokens import TokenCache, create_token
from tests.api.conftest import Api, database_url
from tests.life.world import World

__all__ = ["database_url", "play"]

Scenario = Callable[[World], Awaitable[None]]


@asynccontextmanager
async def open_world(url: str) -> AsyncIterator[World]:
    """An empty world."""
    token = await create_token(url, "tester")
    pool = await connect_pool(url, size_max=10)
    world = World(pool)
    app = create_app(pool, TokenCache(pool), now=lambda: world.now)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    base = "http://tollgate"
    try:
        async with (
            httpx.AsyncClient(transport=transport, base_url=base, headers=headers) as http,
            httpx.AsyncClient(transport=transport, base_url=base) as sdk_http,
        ):
            sdk = AsyncMetronome(
                bearer_token=token,
                base_url=base,
                http_client=sdk_http,
                _strict_response_validation=True,
            )
            await world.begin(Api(http, sdk, pool, token))
            yield world
    finally:
        await pool.close()


@pytest.fixture
def play(database_url: str) -> Callable[[Scenario], None]:
    """Run an asynchronous scenario in an empty world."""

    def run(scenario: Scenario) -> None:
        async def go() -> None:
            async with open_world(database_url) as world:
                await scenario(world)

        asyncio.run(go())

    return run
