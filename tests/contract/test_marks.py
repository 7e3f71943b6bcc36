"""Marks of stale drafts: taken the oldest first and each once; what is left over is put back where
a read that waits for it still finds it.
"""

from datetime import date
from importlib.resources import files
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey, hour_of
from services.projector import marks_postgres
from services.projector.marks_postgres import Mark, take_marks
from tests.contract.conftest import Loop
from tests.contract.projections import AT, in_postgres

NOVEMBER, OCTOBER = date(2026, 11, 1), date(2026, 10, 1)


async def mark(pool: asyncpg.Pool, *posted: str, month: date = NOVEMBER) -> int:
    """A row as a flush makes it; returns its id."""
    row: int = await pool.fetchval(
        "INSERT INTO stale_draft (posted, month) VALUES ($1, $2) RETURNING id", posted, month
    )
    return row


async def take(pool: asyncpg.Pool, count_max: int) -> list[Mark]:
    """Taken for good."""
    async with pool.acquire() as connection, connection.transaction():
        return list(await take_marks(connection, count_max))


async def left(pool: asyncpg.Pool) -> list[tuple[int, str | None]]:
    """(id, reference) of what is still there; customers have none."""
    rows = await pool.fetch("SELECT id, reference FROM stale_mark ORDER BY id, reference")
    return [tuple(row) for row in rows]


def references(marks: list[Mark]) -> list[str | None]:
    """Theirs, in order."""
    return [found.reference for found in marks]


def test_a_reference_that_many_flushes_marked_is_taken_once(loop: Loop, pool: asyncpg.Pool) -> None:
    async def scenario() -> None:
        await in_postgres(pool)
        for _ in range(3):
            await mark(pool, "a", "b")
        await mark(pool, "a", month=OCTOBER)
        assert await take(pool, 10) == [
            Mark(None, "a", NOVEMBER),
            Mark(None, "b", NOVEMBER),
            Mark(None, "a", OCTOBER),
        ]
        assert await left(pool) == []
        assert await take(pool, 10) == []

    loop.run(scenario())


def test_what_is_left_over_keeps_its_turn_and_no_higher_id(
    loop: Loop, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks_postgres, "REFERENCES_MAX", 2)

    async def scenario() -> None:
        await in_postgres(pool)
        first = await mark(pool, "a", "b")
        second = await mark(pool, "c", "a")
        third = await mark(pool, "d", "e")
        assert references(await take(pool, 1)) == ["a"]
        assert await left(pool) == [(first, "b"), (first, "c"), (second, "d"), (second, "e")]
        assert third not in dict(await left(pool))
        # Marked again meanwhile: those that wait longer come first.
        await mark(pool, "a", "c")
        assert references(await take(pool, 3)) == ["b", "c", "d"]
        assert references(await take(pool, 9)) == ["e", "a"]

    loop.run(scenario())


def test_customers_come_first_and_every_month_has_its_share(loop: Loop, pool: asyncpg.Pool) -> None:
    customers = [uuid4() for _ in range(3)]

    async def scenario() -> None:
        await in_postgres(pool)
        await mark(pool, *(f"november-{number}" for number in range(9)))
        await mark(pool, *(f"october-{number}" for number in range(3)), month=OCTOBER)
        for customer in customers:
            await pool.execute(
                "INSERT INTO stale_draft (customer_id, month) VALUES ($1, $2)", customer, NOVEMBER
            )
        taken = await take(pool, 2)
        assert [found.customer_id for found in taken[:2]] == customers[:2]
        taken = await take(pool, 5)
        assert taken[0] == Mark(customers[2], None, NOVEMBER)
        assert references(taken[1:]) == [f"november-{n}" for n in range(3)] + ["october-0"]
        assert len(await left(pool)) == 8

    loop.run(scenario())


def test_what_another_pricing_holds_is_left_to_it(loop: Loop, pool: asyncpg.Pool) -> None:
    async def scenario() -> None:
        await in_postgres(pool)
        await mark(pool, "a")
        async with pool.acquire() as other, other.transaction():
            await other.execute("SELECT FROM stale_draft FOR UPDATE")
            await mark(pool, "b")
            assert references(await take(pool, 10)) == ["b"]
        assert references(await take(pool, 10)) == ["a"]

    loop.run(scenario())


def test_a_flush_of_many_references_makes_few_rows(loop: Loop, pool: asyncpg.Pool) -> None:
    usage = {
        AggregateKey(f"c{number}", UUID(int=1), (group,), hour_of(AT)): Aggregate(1)
        for number in range(1_000)
        for group in ("eu", "us")
    }

    async def scenario() -> None:
        subject = await in_postgres(pool)
        await subject.apply(subject.flush(usage))
        assert await pool.fetchval("SELECT count(*) FROM stale_draft") == 21
        assert await pool.fetchval("SELECT count(DISTINCT reference) FROM stale_mark") == 1_000
        # None is so large that it is moved out of the table.
        assert await pool.fetchval("SELECT max(pg_column_size(m.*)) FROM stale_draft m") < 2_000

    loop.run(scenario())


def test_marks_of_references_made_before_are_kept(loop: Loop, pool: asyncpg.Pool) -> None:
    """0005 gives every mark that waits while it runs its new form."""

    async def scenario() -> None:
        scripts = sorted(files("schemas").joinpath("postgres").iterdir(), key=lambda e: e.name)
        async with pool.acquire() as connection:
            part = connection.transaction()
            await part.start()
            await connection.execute("CREATE SCHEMA before; SET LOCAL search_path = before")
            for script in scripts:
                if script.name.startswith("0005"):
                    await connection.execute(
                        "INSERT INTO stale_draft (reference, month) VALUES ('a', '2026-11-01');"
                        f"INSERT INTO stale_draft (customer_id, month) VALUES ('{UUID(int=7)}',"
                        " '2026-10-01')"
                    )
                await connection.execute(script.read_text(encoding="utf-8"))
            marks = await take_marks(connection, 10)
            await part.rollback()
        assert marks == [Mark(UUID(int=7), None, OCTOBER), Mark(None, "a", NOVEMBER)]

    loop.run(scenario())
