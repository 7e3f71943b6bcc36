"""Turns among projectors: flushes one at a time, and pricing where one is enough. They only spare
work: positions and locks keep what is counted and priced right without them.

A customer's events are spread over all partitions, so two flushes nearly always meet in a row. The
second would wait there, in the middle of a statement whose snapshot keeps every version that rows
have had since it began. Rows then no longer fit into their pages, and each update goes to another
page and into every index. Who waits for a turn has no snapshot, and nothing that others wait for.
"""

import asyncpg

# Excludes itself and a vacuum, which a table of one row never needs: no reader, nor a promotion.
# LOCK takes no snapshot; a SELECT of an advisory lock would have one as long as it waits.
_TAKE_FLUSH_TURN = "LOCK TABLE live_generation IN SHARE UPDATE EXCLUSIVE MODE"
# Any constant; those of `live_postgres` and the migrations are others.
_PRICING = 7_455_003


async def wait_for_flush_turn(connection: asyncpg.Connection) -> None:
    """Those who come first go first; the turn ends with the transaction, before which nothing else
    may have been asked of it."""
    await connection.execute(_TAKE_FLUSH_TURN)


async def have_pricing_turn(connection: asyncpg.Connection) -> bool:
    """Whether nobody else has it; if so, it is ours to the end of the transaction."""
    found: bool = await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", _PRICING)
    return found
