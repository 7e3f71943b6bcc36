"""Migrations of a large database take as long as they take."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from services.runtime import migrate, postgres
from tests.contract.conftest import Loop

NAME = "9999_slow.sql"


def test_a_migration_is_not_cut_short(
    loop: Loop,
    pool: asyncpg.Pool,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / NAME).write_text("SELECT pg_sleep(1)")
    monkeypatch.setattr(migrate, "files", lambda _: tmp_path)
    monkeypatch.setattr(postgres, "COMMAND_TIMEOUT_S", 0.3)

    async def scenario() -> None:
        connection = await postgres.connect(database_url)
        with pytest.raises(asyncio.TimeoutError):  # as any other statement would be
            await connection.execute("SELECT pg_sleep(1)")
        await connection.close()
        assert await migrate.migrate(database_url) == [NAME]
        await pool.execute("DELETE FROM schema_migration WHERE name = $1", NAME)

    loop.run(scenario())
