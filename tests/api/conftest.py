"""A fresh database for each test module, and the application over it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import httpx
import pytest
from metronome import AsyncMetronome

from services.api.app import create_app
from services.runtime.migrate import migrate
from services.runtime.postgres import connect, connect_pool
from services.runtime.tokens import TokenCache, create_token
from tests.conftest import Servers

# The 24th: months back, the current one and none ahead.
NOW = datetime(2026, 11, 24, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Api:
    """The application under test, three ways in."""

    http: httpx.AsyncClient
    sdk: AsyncMetronome
    pool: asyncpg.Pool
    token: str

    async def post(self, path: str, body: object, expect: int = 200) -> Any:
        """POST JSON; the decoded reply."""
        return self._answer(await self.http.post(path, json=body), expect)

    async def get(self, path: str, expect: int = 200, **query: object) -> Any:
        """GET; the decoded reply."""
        return self._answer(await self.http.get(path, params=query), expect)  # type: ignore[arg-type]  # as users write

    def _answer(self, reply: httpx.Response, expect: int) -> Any:
        assert reply.status_code == expect, (reply.request.url, reply.status_code, reply.text)
        return reply.json() if reply.content else None

    async def make_customer(self, *aliases: str, name: str = "Acme") -> str:
        """A new customer's id."""
        body = {"name": name, "ingest_aliases": list(aliases)}
        return str((await self.post("/v1/customers", body))["data"]["id"])

    async def make_metric(self, kind: str = "COUNT", **fields: object) -> str:
        """A new metric's id."""
        body = {"name": "m", "aggregation_type": kind, **fields}
        if kind != "COUNT":
            body.setdefault("aggregation_key", "n")
        return str((await self.post("/v1/billable-metrics/create", body))["data"]["id"])

    async def make_plan(
        self, metric_id: str, *prices: tuple[object, object], **fields: object
    ) -> str:
        """A new plan's id, of one charge; `fields`: more of the plan."""
        charge = {
            "name": "calls",
            "product_name": "API",
            "billable_metric_id": metric_id,
            "prices": [{"tier": tier, "value": value} for tier, value in prices or [(0, 1)]],
        }
        body = {"name": "basic", "charges": [charge], **fields}
        return str((await self.post("/v1/plans/create", body))["data"]["id"])

    async def settle(self) -> None:
        """Take away the marks of stale drafts, as the pricing step would."""
        await self.pool.execute("DELETE FROM stale_draft")


@asynccontextmanager
async def _api(database_url: str) -> AsyncIterator[Api]:
    token = await create_token(database_url, "tester")
    pool = await connect_pool(database_url, size_max=4)
    app = create_app(pool, TokenCache(pool), now=lambda: NOW)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    try:
        async with (
            httpx.AsyncClient(
                transport=transport, base_url="http://tollgate", headers=headers
            ) as http,
            httpx.AsyncClient(transport=transport, base_url="http://tollgate") as sdk_http,
        ):
            sdk = AsyncMetronome(
                bearer_token=token,
                base_url="http://tollgate",
                http_client=sdk_http,
                _strict_response_validation=True,
            )
            yield Api(http, sdk, pool, token)
    finally:
        await pool.close()


async def _create_database(database_url: str) -> str:
    name = f"api_{uuid4().hex}"
    connection = await connect(database_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    url = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
    await migrate(url)
    return url


@pytest.fixture(scope="module")
def database_url(servers: Servers) -> Iterator[str]:
    """A database of its own, with every migration."""
    url = asyncio.run(_create_database(servers.database_url))
    yield url

    async def drop() -> None:
        connection = await connect(servers.database_url)
        try:
            name = urlsplit(url).path.removeprefix("/")
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        finally:
            await connection.close()

    asyncio.run(drop())


Scenario = Callable[[Api], Awaitable[None]]


@pytest.fixture
def play(database_url: str) -> Callable[[Scenario], None]:
    """Run an asynchronous scenario against the application."""

    def run(scenario: Scenario) -> None:
        async def go() -> None:
            async with _api(database_url) as api:
                await scenario(api)

        asyncio.run(go())

    return run
