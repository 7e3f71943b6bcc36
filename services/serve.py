"""One base URL for the whole HTTP API: the gateway's hot path and the API side by side.

Composition only: the two never import each other, and each can also run by itself.
"""

import asyncio
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass

import asyncpg

from services.api.app import create_app
from services.gateway.app import PATH, IngestApp
from services.gateway.sink_kafka import KafkaEventSink
from services.runtime.clock import utc_now
from services.runtime.conservation_live import LiveReports
from services.runtime.health import PATHS, Check, HealthApp
from services.runtime.http import App, HttpError, Receive, Scope, Send, drained, respond_error
from services.runtime.postgres import connect_pool_when_it_answers
from services.runtime.process import first_of, run_stage
from services.runtime.server import serve
from services.runtime.settings import Settings
from services.runtime.tokens import TokenCache

POOL_SIZE = 10


@dataclass(frozen=True, slots=True)
class Part:
    """Which halves of the API a process serves."""

    ingest: bool
    api: bool


class Router:
    """Sends a request to ingest, health or the API."""

    def __init__(self, ingest: App | None, health: App, api: App | None) -> None:
        self._ingest = ingest
        self._health = health
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        receive, send = drained(receive, send)
        path = scope["path"]
        if path == PATH and self._ingest is not None:
            await self._ingest(scope, receive, send)
        elif path in PATHS:
            await self._health(scope, receive, send)
        elif self._api is not None:
            await self._api(scope, receive, send)
        else:
            await respond_error(send, HttpError(404, f"nothing is served at {path}"))


async def run(part: Part, settings: Settings, stopping: asyncio.Event) -> None:
    """Serve the parts until `stopping`."""
    async with AsyncExitStack() as stack:
        pool = await connect_pool_when_it_answers(settings.database_url, size_max=POOL_SIZE)
        stack.push_async_callback(pool.close)
        tokens = TokenCache(pool)
        checks: dict[str, Check] = {"postgres": lambda: _ping(pool)}
        ingest = None
        if part.ingest:
            sink = KafkaEventSink(settings.kafka_bootstrap_servers, settings.partitions)
            await sink.start()
            stack.push_async_callback(sink.stop)
            checks["kafka"] = sink.check
            ingest = IngestApp(
                sink,
                tokens.name_of,
                utc_now,
                body_bytes_max=settings.body_bytes_max,
                bytes_in_flight_max=settings.bytes_in_flight_max,
            )
        api = None
        if part.api:
            reports = LiveReports(pool, settings)
            stack.push_async_callback(reports.close)
            api = create_app(pool, tokens, reports=reports)
        # Ingest goes on without PostgreSQL, so its absence must not take the gateway out of
        # service.
        health = HealthApp(checks, {"kafka"} if part.ingest else {"postgres"})
        router = Router(ingest, health, api)
        await first_of(serve(router, settings, stopping, health.until_ready), tokens.keep_fresh())


async def _ping(pool: asyncpg.Pool) -> None:
    await pool.fetchval("SELECT 1", timeout=2)


async def serve_all(settings: Settings, stopping: asyncio.Event) -> None:
    """Gateway and API in one process."""
    await run(Part(ingest=True, api=True), settings, stopping)


def main(argv: list[str]) -> int:
    """Entry of `tollgate serve`."""
    return run_stage("gateway", serve_all, argv)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
