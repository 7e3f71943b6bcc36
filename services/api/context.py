"""What every endpoint is handed: the pool, the clock, and who asks. Holds no state of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import asyncpg
from fastapi import Depends, Request

from services.runtime.conservation_live import Reports

# A pool that stays empty this long means that the database hangs: better 503 than to queue.
ACQUIRE_S = 5.0
ACTOR = "tollgate.actor"  # where `auth` leaves the token's name in the ASGI scope


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that endpoints use."""

    pool: asyncpg.Pool
    now: Callable[[], datetime]
    reports: Reports | None = None  # None: this process has no log to look at

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[asyncpg.Connection]:
        """One snapshot for every query of a reply, so that its parts agree."""
        async with (
            self.pool.acquire(timeout=ACQUIRE_S) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            yield connection

    async def value(self, query: str, *arguments: object) -> Any:
        """One value, on a connection given back at once."""
        async with self.pool.acquire(timeout=ACQUIRE_S) as connection:
            return await connection.fetchval(query, *arguments)


def _context_of(request: Request) -> Context:
    context = request.app.state.context
    assert isinstance(context, Context)
    return context


def _actor_of(request: Request) -> str:
    return str(request.scope[ACTOR])


Parts = Annotated[Context, Depends(_context_of)]
Actor = Annotated[str, Depends(_actor_of)]
