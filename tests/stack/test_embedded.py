"""The servers as a library: with an event loop and without, and Kafka's class archive."""

import asyncio
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from services.stack import embedded
from services.stack.embedded import EmbeddedServers
from services.stack.errors import AlreadyRunningError
from services.stack.kafka_archive import ClassArchive
from services.stack.kafka_server import KafkaServer
from services.stack.settings import StackSettings, read_stack_settings
from tests.stack.running import bare_environ, is_alive, wait_until

SETTINGS = read_stack_settings(bare_environ())
PAIR = ("redis", "postgres")


def test_without_an_event_loop(tmp_path: Path) -> None:
    with EmbeddedServers.running(tmp_path, PAIR, SETTINGS) as servers:
        pids = servers.processes
        assert set(pids) == set(PAIR)
        assert asyncio.run(_one(servers.database_url)) == 1
        os.kill(pids["redis"], signal.SIGKILL)
        wait_until(lambda: servers.processes.get("redis") not in {pids["redis"], None}, 10)
        with pytest.raises(AssertionError, match="kafka was not asked for"):
            _ = servers.kafka_bootstrap_servers
    assert not any(map(is_alive, pids.values()))


def test_what_fails_inside_reaches_the_caller(tmp_path: Path) -> None:
    with (
        EmbeddedServers.running(tmp_path, ("redis",), SETTINGS),
        pytest.raises(AlreadyRunningError),
        EmbeddedServers.running(tmp_path, ("redis",), SETTINGS),
    ):
        raise AssertionError("two on one directory")


def test_what_fails_in_the_callers_block_stops_the_servers(tmp_path: Path) -> None:
    pids: list[int] = []

    def fail_inside() -> None:
        with EmbeddedServers.running(tmp_path, ("redis",), SETTINGS) as servers:
            pids.extend(servers.processes.values())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert len(pids) == 1
    assert not any(map(is_alive, pids))


def test_postgres_has_the_settings_that_billing_needs(tmp_path: Path) -> None:
    async def settings() -> dict[str, str]:
        async with EmbeddedServers(tmp_path, ("postgres",), SETTINGS) as servers:
            connection = await asyncpg.connect(servers.database_url)
            names = ("synchronous_commit", "fsync", "TimeZone", "server_encoding", "lc_collate")
            found = {name: await _setting(connection, name) for name in names}
            await connection.close()
            wrong = servers.database_url.replace(":", ":x", 2).replace(":x//", "://", 1)
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(wrong)
            return found

    assert asyncio.run(settings()) == {
        "synchronous_commit": "on",
        "fsync": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "lc_collate": "C",
    }


def test_a_damaged_class_archive_does_not_stop_kafka(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged in the middle, where Java does not look before it uses it, or not one at all."""
    monkeypatch.setattr(
        ClassArchive, "path", property(lambda self: tmp_path / f"{self.key}-test.jsa")
    )

    async def work() -> None:
        async with EmbeddedServers(tmp_path / "data", ("kafka",), SETTINGS) as servers:
            await _kafka_of(servers).make_archive()
        (archive,) = tmp_path.glob("*.jsa")
        with archive.open("r+b") as file:
            file.seek(archive.stat().st_size // 4)
            file.write(os.urandom(archive.stat().st_size // 2))
        async with EmbeddedServers(tmp_path / "data", ("kafka",), SETTINGS):
            assert not archive.exists(), "removed, so that it is made anew"
        archive.write_bytes(b"no archive")
        async with EmbeddedServers(tmp_path / "data", ("kafka",), SETTINGS):
            pass

    asyncio.run(work())


def test_a_full_disk_costs_only_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_ARCHIVE_DELAY_S", 0)
    said: list[str] = []
    settings = StackSettings(cache_dir=tmp_path)
    servers = EmbeddedServers(
        tmp_path, (), settings, lambda name, text: said.append(f"{name}: {text}")
    )

    async def full(_kafka: KafkaServer) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(KafkaServer, "make_archive", full)
    kafka = KafkaServer.__new__(KafkaServer)
    asyncio.run(servers._make_archive(kafka))
    assert said == ["kafka: no class archive, so later starts are slower: No space left on device"]


async def _one(database_url: str) -> int:
    connection = await asyncpg.connect(database_url)
    try:
        return int(await connection.fetchval("SELECT 1"))
    finally:
        await connection.close()


async def _setting(connection: asyncpg.Connection, name: str) -> str:
    return str(
        await connection.fetchval(
            "SELECT setting FROM pg_settings WHERE name = $1"
            " UNION ALL SELECT datcollate FROM pg_database"
            " WHERE $1 = 'lc_collate' AND datname = current_database()",
            name,
        )
    )


def _kafka_of(servers: EmbeddedServers) -> KafkaServer:
    kafka = servers.supervisor.programs["kafka"]
    assert isinstance(kafka, KafkaServer)
    return kafka
