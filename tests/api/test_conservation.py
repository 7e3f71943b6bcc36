"""GET /v1/tollgate/verify and /metrics while Kafka is away, and what a report becomes."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx

from services.api.app import create_app
from services.domain.conservation import Ends, Projected, account
from services.runtime.conservation import Report
from services.runtime.conservation_live import LiveReports, Reports
from services.runtime.postgres import connect_pool
from services.runtime.settings import read_settings
from services.runtime.tokens import TokenCache, create_token

PATHS = ("/v1/tollgate/verify", "/metrics")


class FixedReports:
    """A report of one partition that lost an event."""

    async def report(self) -> Report:
        """See Reports."""
        held = Projected(0, 9, 1, counted=8, duplicates=0, conflicts=0, rejected=0, unmatched=3)
        ends = Ends(0, 12, judged=11, rated=9, unique_first=0, rated_first=0, applied=9)
        return Report(0, (account(0, ends, held),), ())


def ask(
    database_url: str,
    scenario: Callable[[httpx.AsyncClient], Awaitable[None]],
    reports: Reports | None = None,
) -> None:
    """Run a scenario against an API that has these reports, or those of a Kafka that is away."""

    async def run() -> None:
        headers = {"Authorization": f"Bearer {await create_token(database_url, 'tester')}"}
        pool = await connect_pool(database_url, size_max=2)
        settings = read_settings(
            {
                "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
                "REDIS_URL": "redis://127.0.0.1:9/0",
                "DATABASE_URL": database_url,
            }
        )
        live = LiveReports(pool, settings)
        app = create_app(pool, TokenCache(pool), reports=reports or live)
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app), base_url="http://tollgate", headers=headers
            ) as http:
                await scenario(http)
        finally:
            await live.close()
            await pool.close()

    asyncio.run(run())


def test_while_kafka_is_away_the_answer_is_503_and_again_later(database_url: str) -> None:
    async def scenario(http: httpx.AsyncClient) -> None:
        for path in (*PATHS, *PATHS):
            reply = await http.get(path)
            assert reply.status_code == 503
            assert int(reply.headers["Retry-After"]) >= 1
            assert "Kafka" in reply.json()["message"]

    ask(database_url, scenario)


def test_both_want_the_token(database_url: str) -> None:
    async def scenario(http: httpx.AsyncClient) -> None:
        for path in PATHS:
            assert (await http.get(path, headers={"Authorization": ""})).status_code == 401

    ask(database_url, scenario)


def test_an_event_that_is_lost_shows_in_both(database_url: str) -> None:
    async def scenario(http: httpx.AsyncClient) -> None:
        document = (await http.get(PATHS[0])).json()
        assert document["adds_up"] is False
        assert document["total"]["difference"] == 1
        assert document["partitions"][0]["in_flight"] == {"dedup": 1, "rating": 2, "projector": 0}
        [problem] = document["problems"]
        assert problem["kind"] == "does_not_add_up"
        assert problem["to_do"]
        lines = (await http.get(PATHS[1])).text.splitlines()
        assert 'tollgate_difference{partition="0"} 1' in lines
        assert 'tollgate_unmatched_total{partition="0"} 3' in lines
        assert 'tollgate_in_flight{partition="0",stage="rating"} 2' in lines

    ask(database_url, scenario, FixedReports())
