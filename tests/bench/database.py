"""A connection to a PostgreSQL of the bench, on which nothing is waited for without a bound."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import asyncpg

# The longest statements add 100,000 customers (5 s), or fill the naive service's table.
_STATEMENT_S_MAX = 300.0
_CLOSE_S_MAX = 10.0


@asynccontextmanager
async def connected(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Open until left."""
    connection = await asyncpg.connect(database_url, command_timeout=_STATEMENT_S_MAX)
    try:
        yield connection
    finally:
        with suppress(TimeoutError):  # it is cut off then
            await connection.close(timeout=_CLOSE_S_MAX)
