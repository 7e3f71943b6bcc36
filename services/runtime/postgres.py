"""Connections to PostgreSQL. Adapters only hold a pool; no query lives here.

jsonb travels as text both ways: the caller encodes and decodes with `services.runtime.json`, so
that numbers keep every digit.
"""

import asyncio
import logging
from collections.abc import Mapping

import asyncpg

logger = logging.getLogger(__name__)

RETRY_S = 0.5
# A statement that takes longer fails.
COMMAND_TIMEOUT_S = 60

# What an absent or restarting PostgreSQL raises.
DATABASE_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


# For a process whose every statement takes arrays: planned each time it runs, which costs little
# beside what it does. A plan that was made, and kept, while a table was small reads the whole of it
# for every element of the array once it is large.
PLANNED_EACH_TIME: Mapping[str, str] = {"plan_cache_mode": "force_custom_plan"}


async def connect_pool(
    database_url: str,
    *,
    size_max: int,
    command_timeout_s: int = 60,
    settings: Mapping[str, str] | None = None,
) -> asyncpg.Pool:
    """A pool of at most `size_max` connections; raises OSError or asyncpg.PostgresError."""
    pool: asyncpg.Pool = await asyncpg.create_pool(
        database_url,
        min_size=1,
        max_size=size_max,
        command_timeout=command_timeout_s,
        server_settings={"timezone": "UTC", "application_name": "tollgate", **(settings or {})},
    )
    return pool


async def connect_pool_when_it_answers(database_url: str, *, size_max: int) -> asyncpg.Pool:
    """As connect_pool, but waits for a PostgreSQL that is away; a wrong address or password is
    logged at every try and shows in readiness."""
    while True:
        try:
            return await connect_pool(database_url, size_max=size_max)
        except DATABASE_AWAY as error:
            logger.warning("PostgreSQL does not answer yet: %r", error)
            await asyncio.sleep(RETRY_S)


async def connect(database_url: str, *, patient: bool = False) -> asyncpg.Connection:
    """One connection; raises OSError or asyncpg.PostgresError. `patient`: its statements take as
    long as they take."""
    return await asyncpg.connect(
        database_url,
        timeout=10,
        command_timeout=None if patient else COMMAND_TIMEOUT_S,
        server_settings={"timezone": "UTC", "application_name": "tollgate"},
    )
