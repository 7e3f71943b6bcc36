"""`tollgate rejected` and `tollgate conflicts` as an operator runs them, on a real database: what
they show, page by page, and what they say to wrong arguments.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import pytest

from services.cli import main
from services.projector.projection import Advance, Flush
from services.projector.projection_postgres import PostgresProjection
from services.runtime.migrate import migrate
from services.runtime.postgres import connect, connect_pool
from services.runtime.records import RatedConflict, RatedRejection
from tests.conftest import Servers

AT_MS = 1_764_000_000_123
AT = "2025-11-24T16:00:00.123000Z"
METRICS = [UUID(int=1), UUID(int=2)]


async def execute(url: str, *statements: str) -> None:
    connection = await connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def apply(url: str, flush: Flush) -> None:
    pool = await connect_pool(url, size_max=2)
    try:
        await PostgresProjection(pool).apply(flush)
    finally:
        await pool.close()


@pytest.fixture(scope="module")
def database_url(servers: Servers) -> Iterator[str]:
    name = f"ops_{uuid4().hex}"
    url = urlunsplit(urlsplit(servers.database_url)._replace(path=f"/{name}"))
    asyncio.run(execute(servers.database_url, f"CREATE DATABASE {name}"))
    asyncio.run(migrate(url))
    yield url
    asyncio.run(execute(servers.database_url, f"DROP DATABASE {name} WITH (FORCE)"))


@dataclass
class Operator:
    """Runs commands against a database that holds nothing yet."""

    url: str
    capsys: pytest.CaptureFixture[str]

    def holds(
        self,
        rejections: list[tuple[int, RatedRejection]],
        conflicts: list[tuple[int, RatedConflict]],
    ) -> None:
        """Let the projector write (partition, dead letter) and (partition, conflict)."""
        instant = datetime(2026, 1, 1, tzinfo=UTC)
        advances = {p: Advance(None, 0, 9, 1, instant, 1, duplicates=9) for p in range(3)}
        flush = Flush(advances, {}, [(p, 7, r) for p, r in rejections], conflicts)
        asyncio.run(apply(self.url, flush))

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, output, errors."""
        try:
            status = main(list(arguments))
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, err = self.capsys.readouterr()
        return status, out, err

    def json(self, *arguments: str) -> Any:
        """The JSON of a command that succeeds."""
        status, out, err = self.run(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    def pages(self, name: str, limit: int) -> list[dict[str, Any]]:
        """All rows, page by page."""
        rows: list[dict[str, Any]] = []
        page = self.json(name, "--limit", str(limit))
        while page["next"] is not None:
            assert len(page[name]) == limit
            rows += page[name]
            page = self.json(name, "--limit", str(limit), "--after", page["next"])
        rows += page[name]
        return rows


@pytest.fixture
def operator(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Operator:
    asyncio.run(
        execute(database_url, "TRUNCATE projection_position, rejected_event, conflicting_event")
    )
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    return Operator(database_url, capsys)


def rejection(offset: int, at_ms: int = AT_MS, metric_id: UUID | None = None) -> RatedRejection:
    """A dead letter."""
    return RatedRejection(offset, "not_json", "is not JSON", metric_id, b"key", b"value", at_ms)


@pytest.mark.parametrize("name", ["rejected", "conflicts"])
def test_nothing_to_list_is_said(operator: Operator, name: str) -> None:
    assert operator.run(name) == (0, "none\n", "")
    assert operator.json(name) == {name: [], "next": None}


def test_a_rejected_record_is_shown_with_everything(operator: Operator) -> None:
    bytes_of_others = RatedRejection(5, "not_json", "why", None, None, b"\xff\x00", AT_MS)
    text = RatedRejection(
        8, "not_a_number", "häh", METRICS[0], b"tx-1", '{"n":"ö"}'.encode(), AT_MS
    )
    operator.holds([(1, bytes_of_others), (2, text)], [])
    first, second = operator.json("rejected")["rejected"]
    assert datetime.fromisoformat(first.pop("rejected_at")) > datetime.now(UTC) - timedelta(hours=1)
    assert first == {
        "partition": 2,
        "offset": 8,
        "metric_id": str(METRICS[0]),
        "reason": "not_a_number",
        "detail": "häh",
        "key": {"text": "tx-1"},
        "value": {"text": '{"n":"ö"}'},
        "ingested_at": AT,
        "catalog_version": 7,
    }
    assert (second["partition"], second["offset"], second["metric_id"]) == (1, 5, None)
    assert (second["key"], second["value"]) == (None, {"base64": "/wA="})
    status, shown, _ = operator.run("rejected")
    assert status == 0
    for part in ("partition 2 offset 8", "not_a_number", "tx-1", '{"n":"ö"}', "/wA= (base64)"):
        assert part in shown


def test_a_conflict_names_both_sightings(operator: Operator) -> None:
    operator.holds([], [(1, RatedConflict(7, 3, "tx-1", AT_MS))])
    assert operator.json("conflicts")["conflicts"] == [
        {
            "transaction_id": "tx-1",
            "partition": 1,
            "offset": 7,
            "first_offset": 3,
            "ingested_at": AT,
        }
    ]
    _, shown, _ = operator.run("conflicts")
    assert "partition 1 offset 7" in shown
    assert "tx-1 was first seen at offset 3" in shown


def test_what_a_terminal_would_obey_is_shown_escaped_and_long_values_cut(
    operator: Operator,
) -> None:
    evil = RatedRejection(5, "not_json", "", None, b"\x1b[2J", b"x" * 2_000, AT_MS)
    operator.holds([(0, evil)], [(0, RatedConflict(7, 3, "a\nb\x1b", AT_MS))])
    for name in ("rejected", "conflicts"):
        _, shown, _ = operator.run(name)
        assert "\x1b" not in shown
        assert "\\x1b" in shown
    _, shown, _ = operator.run("rejected")
    assert "x" * 501 not in shown
    assert "2000 characters" in shown
    [row] = operator.json("rejected")["rejected"]
    assert row["value"] == {"text": "x" * 2_000}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 12, 13])
def test_pages_are_newest_first_and_hold_each_row_once(operator: Operator, limit: int) -> None:
    """Times tie within and across partitions, and an offset has a row a metric."""
    places = [(p, o) for p in range(3) for o in range(2)]
    operator.holds(
        [
            (p, rejection(o, AT_MS + o * 1_000, metric_id))
            for p, o in places
            for metric_id in METRICS
        ],
        [(p, RatedConflict(o, 0, f"{p}-{o}", AT_MS + p % 2)) for p, o in places],
    )
    rejected = operator.pages("rejected", limit)
    found = [(r["ingested_at"], r["partition"], r["offset"], r["metric_id"]) for r in rejected]
    assert len(set(found)) == 12
    assert found == sorted(found, reverse=True)
    conflicts = operator.pages("conflicts", limit)
    order = [(c["ingested_at"], c["partition"], c["offset"]) for c in conflicts]
    assert len(set(order)) == 6
    assert order == sorted(order, reverse=True)


def test_the_command_for_the_next_page_is_shown(operator: Operator) -> None:
    operator.holds([], [(0, RatedConflict(o, 0, f"tx-{o}", AT_MS)) for o in range(3)])
    _, shown, _ = operator.run("conflicts", "--limit", "2")
    command = shown.splitlines()[-1].removeprefix("more: tollgate ").split()
    _, shown, _ = operator.run(*command)
    assert "tx-0" in shown
    assert "more:" not in shown


def test_only_the_live_generation_is_listed(operator: Operator) -> None:
    operator.holds([(0, rejection(1))], [(0, RatedConflict(2, 0, "tx", AT_MS))])
    other = (
        "INSERT INTO generation (id, state, source, catalog_version) VALUES (9, 'LIVE', 'raw', 0)"
    )
    move = "UPDATE live_generation SET generation = {}"
    asyncio.run(execute(operator.url, other, move.format(9)))
    try:
        assert operator.json("rejected")["rejected"] == []
        assert operator.json("conflicts")["conflicts"] == []
    finally:
        asyncio.run(execute(operator.url, move.format(0), "DELETE FROM generation WHERE id = 9"))
    assert len(operator.json("rejected")["rejected"]) == 1
    assert len(operator.json("conflicts")["conflicts"]) == 1


@pytest.mark.parametrize("name", ["rejected", "conflicts"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--limit", "0"),
        ("--limit", "1001"),
        ("--limit", "x"),
        ("--after", "x"),
        ("--after", ""),
        ("--after", "1:2"),
        ("--after", "1:2:3:4:5"),
        ("--after", "1:2:-3"),
        ("--after", "9" * 30 + ":0:0"),
        ("--after", f"1:{2**31}:0:{UUID(int=0)}"),
        ("--after", f"1:0:{2**63}"),
        ("--after", "1:0:0:nothing"),
    ],
)
def test_wrong_arguments_are_named(
    operator: Operator, name: str, arguments: tuple[str, str]
) -> None:
    status, out, err = operator.run(name, *arguments)
    assert (status, out) == (2, "")
    assert arguments[0] in err


def test_a_database_that_is_away_is_said(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:1/nothing")
    status, out, err = operator.run("rejected")
    assert (status, out) == (1, "")
    assert "PostgreSQL" in err
