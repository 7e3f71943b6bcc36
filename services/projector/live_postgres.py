"""Which generation is live, or still there, kept so to the end of a transaction.

An advisory lock, not the row's own: PostgreSQL lets new sharers of a row pass one that waits for it
alone, so a promotion would never have its turn under load.
"""

import asyncpg

from services.projector.projection import GenerationDropped

# Any constant; the migrations have another.
_LOCK = 7_455_002
_LIVE = "SELECT generation FROM live_generation"


async def share_live(connection: asyncpg.Connection) -> int:
    """The live generation, for a transaction that writes it or prices from it."""
    await connection.execute("SELECT pg_advisory_xact_lock_shared($1)", _LOCK)
    # A statement of its own: its snapshot is taken once the lock is held.
    generation: int = await connection.fetchval(_LIVE)
    return generation


async def hold_live(connection: asyncpg.Connection) -> int:
    """The live generation, for a transaction in which nothing else may write it."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
    generation: int = await connection.fetchval(_LIVE)
    return generation


async def check_kept(connection: asyncpg.Connection, generation: int) -> None:
    """For a transaction that writes a generation which is not live; raises GenerationDropped."""
    state = await connection.fetchval(
        "SELECT state FROM generation WHERE id = $1 FOR SHARE", generation
    )
    if state == "DROPPED":
        raise GenerationDropped(f"generation {generation} was dropped meanwhile")
