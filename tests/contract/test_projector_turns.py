"""Turns of projectors: a flush waits for the one before it and keeps nothing from being cleaned up
meanwhile; whoever prices beside somebody does so on purpose.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from services.domain.aggregate import Aggregate, AggregateKey, hour_of
from services.projector.__main__ import SESSION
from services.projector.drafts_postgres import PostgresDrafts
from services.projector.projection_postgres import PostgresProjection
from services.projector.turns_postgres import wait_for_flush_turn
from services.runtime.postgres import connect_pool
from tests.contract.conftest import Loop
from tests.contract.projections import AT, Subject, in_postgres

NOW = datetime(2026, 11, 28, tzinfo=UTC)
_WAITING = """
SELECT backend_xmin::text, backend_xid::text FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def usage(reference: str) -> dict[AggregateKey, Aggregate]:
    """One event of a customer."""
    return {AggregateKey(reference, UUID(int=1), (), hour_of(AT)): Aggregate(1)}


@asynccontextmanager
async def turn(pool: asyncpg.Pool) -> AsyncIterator[None]:
    """Another projector is in the middle of a flush."""
    async with pool.acquire() as other, other.transaction():
        await wait_for_flush_turn(other)
        yield


async def waiting(pool: asyncpg.Pool) -> asyncpg.Record:
    """What whoever waits for a lock holds back."""
    async with asyncio.timeout(10):
        while (found := await pool.fetchrow(_WAITING)) is None:
            await asyncio.sleep(0.01)
    return found


async def warm(pool: asyncpg.Pool, connections: int) -> None:
    """A session that looks a table's name up for the first time has a snapshot for that."""
    async with AsyncExitStack() as held:
        for _ in range(connections):
            connection = await held.enter_async_context(pool.acquire())
            async with connection.transaction():
                await wait_for_flush_turn(connection)


def test_a_flush_waits_for_its_turn_with_no_snapshot_and_is_applied_then(
    loop: Loop, pool: asyncpg.Pool
) -> None:
    async def scenario() -> None:
        subject = await in_postgres(pool)
        await warm(pool, 4)  # all of them
        async with turn(pool):
            flushing = asyncio.create_task(subject.apply(subject.flush(usage("a"))))
            assert tuple(await waiting(pool)) == (None, None)
            assert not flushing.done()
            assert await subject.read.aggregates() == {}
        await flushing
        assert await subject.read.aggregates() == usage("a")

    loop.run(scenario())


def test_a_turn_holds_up_no_replay_no_promotion_and_no_reader(
    loop: Loop, pool: asyncpg.Pool
) -> None:
    async def scenario() -> None:
        subject = await in_postgres(pool)
        async with turn(pool), asyncio.timeout(10):
            replayed = Subject(PostgresProjection(pool, 0), subject.read)
            await replayed.apply(replayed.flush(usage("a")))
            await pool.execute("UPDATE live_generation SET generation = generation")
            assert await pool.fetchval("SELECT generation FROM live_generation") == 0

    loop.run(scenario())


def test_a_paused_projector_loses_its_turn(loop: Loop, database_url: str) -> None:
    """With the settings of its sessions, but for how long that takes."""
    name = "idle_in_transaction_session_timeout"
    assert SESSION[name] == "20s"

    async def scenario() -> None:
        pool = await connect_pool(database_url, size_max=2, settings={**SESSION, name: "300ms"})
        subject = await in_postgres(pool)
        paused = await pool.acquire()
        await paused.execute("BEGIN")
        await wait_for_flush_turn(paused)
        async with asyncio.timeout(10):
            await subject.apply(subject.flush(usage("a")))
        assert await subject.read.aggregates() == usage("a")
        pool.terminate()

    loop.run(scenario())


def test_one_prices_alone_until_its_batch_ends(loop: Loop, pool: asyncpg.Pool) -> None:
    async def scenario() -> None:
        await in_postgres(pool)
        one, other = PostgresDrafts(pool), PostgresDrafts(pool)
        async with one.take(1, NOW, alone=True) as batch:
            assert batch is not None
            async with other.take(1, NOW, alone=True) as second:
                assert second is None
            async with other.take(1, NOW) as beside:
                assert beside is not None
        async with other.take(1, NOW, alone=True) as after:
            assert after is not None

    loop.run(scenario())
