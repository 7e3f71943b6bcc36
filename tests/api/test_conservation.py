"""GET /v1/tollgate/verify and /metrics while Kafka is away, and what a report becomes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import httpx
import pytest

from services.api.app import create_app
from services.domain.conservation import Ends, Projected, account
from services.runtime import conservation_live
from services.runtime.conservation import Report, read_projected
from services.runtime.conservation_live import LiveReports, Reports
from services.runtime.log import RAW
from services.runtime.log_memory import MemoryLog
from services.runtime.postgres import connect, connect_pool
from services.runtime.settings import Settings, read_settings
from services.runtime.tokens import TokenCache, create_token

PATHS = ("/v1/tollgate/verify", "/metrics")


class FixedReports:
    """A report of one partition that lost an event."""

    async def report(self) -> Report:
        """See Reports."""
        held = Projected(0, 9, 1, counted=8, duplicates=0, conflicts=0, rejected=0, unmatched=3)
        ends = Ends(0, 12, judged=11, rated=9, unique_first=0, rated_first=0, applied=9)
        return Report(0, (account(0, ends, held),), ())


def settings_of(database_url: str) -> Settings:
    """With this database, and a Kafka that is away."""
    return read_settings(
        {
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
            "REDIS_URL": "redis://127.0.0.1:9/0",
            "DATABASE_URL": database_url,
        }
    )


def ask(
    database_url: str,
    scenario: Callable[[httpx.AsyncClient], Awaitable[None]],
    reports: Reports | None = None,
) -> None:
    """Run a scenario against an API that has these reports, or those of a Kafka that is away."""

    async def run() -> None:
        headers = {"Authorization": f"Bearer {await create_token(database_url, 'tester')}"}
        pool = await connect_pool(database_url, size_max=2)
        live = LiveReports(pool, settings_of(database_url))
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


class OneEvent(MemoryLog):
    """A Kafka with one event that no stage has taken, connected to as to a real one."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()
        self.put(RAW, 0, b"k", b"{}")

    async def start(self) -> None:
        """Nothing to connect to."""

    async def stop(self) -> None:
        """Nothing to disconnect from."""


@asynccontextmanager
async def locked(database_url: str, table: str) -> AsyncIterator[None]:
    """Nobody else can read a table: whoever tries waits."""
    connection = await connect(database_url)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


@pytest.mark.parametrize("table", ["rejected_event", "conflicting_event"])
def test_the_rows_that_only_the_command_counts_are_not_read(
    database_url: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conservation_live, "KafkaLog", OneEvent)

    async def scenario(http: httpx.AsyncClient) -> None:
        async with locked(database_url, table):
            for path in PATHS:
                reply = await http.get(path)
                assert reply.status_code == 200, reply.text

    ask(database_url, scenario)


@pytest.mark.parametrize("limit", ["LOOK_TIMEOUT_S", "ANSWER_TIMEOUT_S"])
def test_a_database_that_does_not_answer_is_503_for_all_who_ask(
    database_url: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: they share one look, so the last one waits no longer than the first."""
    monkeypatch.setattr(conservation_live, "KafkaLog", OneEvent)
    monkeypatch.setattr(conservation_live, limit, 0.3)

    async def scenario(http: httpx.AsyncClient) -> None:
        async with locked(database_url, "projection_position"):
            async with asyncio.timeout(20):
                replies = await asyncio.gather(*(http.get(path) for path in PATHS * 50))
            assert {reply.status_code for reply in replies} == {503}
            assert all("Retry-After" in reply.headers for reply in replies)
        async with asyncio.timeout(20):
            while (await http.get(PATHS[0])).status_code != 200:
                await asyncio.sleep(0.05)

    ask(database_url, scenario)


def test_who_asks_while_a_look_is_under_way_gets_what_it_finds(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    async def counted(
        connection: asyncpg.Connection, *, with_rows: bool
    ) -> tuple[int, dict[int, Projected]]:
        nonlocal looks
        looks += 1
        return await read_projected(connection, with_rows=with_rows)

    monkeypatch.setattr(conservation_live, "KafkaLog", OneEvent)
    monkeypatch.setattr(conservation_live, "read_projected", counted)

    async def run() -> None:
        pool = await connect_pool(database_url, size_max=2)
        live = LiveReports(pool, settings_of(database_url))
        gone = asyncio.create_task(live.report())
        await asyncio.sleep(0)
        gone.cancel()  # whoever asked first goes away
        reports = await asyncio.gather(*(live.report() for _ in range(20)))
        assert looks == 1
        assert {report.accounts[0].accepted for report in reports} == {1}
        await live.report()
        assert looks == 2  # and later, a look of its own
        await live.close()
        await pool.close()

    asyncio.run(run())
