"""Turns among projectors: flushes one at a time, and pricing where one is enough. They only spare
work: positions and locks keep what is counted and priced right without them.

A customer's events are spread over all partitions, so two flushes nearly always meet in a row. The
second would wait there, in the middle of a statement whose snapshot keeps every version that rows
have had since it began. Rows then no longer fit into their pages, and each update goes to another
page and into every index. Who waits for a turn has no snapshot, and nothing that others wait for.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

# Excludes itself and a vacuum, which a table of one row never needs: no reader, nor a promotion.
# LOCK takes no snapshot; a SELECT of an advisory lock would have one as long as it waits.
_TAKE_FLUSH_TURN = "LOCK TABLE live_generation IN SHARE UPDATE EXCLUSIVE MODE"
# Any constant; those of `live_postgres` and the migrations are others.
_PRICING = 7_455_003
# PostgreSQL ends a transaction that says nothing for 20 s (`SESSION` of the projector).
SPEAK_EVERY_S = 5.0


async def wait_for_flush_turn(connection: asyncpg.Connection) -> None:
    """Those who come first go first; the turn ends with the transaction, before which nothing else
    may have been asked of it."""
    await connection.execute(_TAKE_FLUSH_TURN)


async def have_pricing_turn(connection: asyncpg.Connection) -> bool:
    """Whether nobody else has it; if so, it is ours to the end of the transaction."""
    found: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _PRICING)
    return found


@asynccontextmanager
async def held_at_work(connection: asyncpg.Connection) -> AsyncIterator[None]:
    """Keeps a transaction from ending while we work and ask nothing of it, however long that takes:
    only a process that stands still is to lose what it holds. Nobody else may use the connection.
    """
    done = asyncio.Event()
    speaking = asyncio.create_task(_speak(connection, done))
    try:
        yield
    finally:
        # Never cancelled in the middle of a statement, which would end the transaction too.
        done.set()
        await speaking


async def _speak(connection: asyncpg.Connection, done: asyncio.Event) -> None:
    while True:
        try:
            async with asyncio.timeout(SPEAK_EVERY_S):
                await done.wait()
            return
        except TimeoutError:
            await connection.execute("SELECT")
