"""Connections to PostgreSQL. Adapters only hold a pool; no query lives here.

jsonb travels as text both ways: the caller encodes and decodes with `services.runtime.json`, so
that numbers keep every digit.
"""

import asyncpg

# What an absent or restarting PostgreSQL raises.
DATABASE_AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)


async def connect_pool(database_url: str, *, size_max: int) -> asyncpg.Pool:
    """A pool of at most `size_max` connections; raises OSError or asyncpg.PostgresError."""
    pool: asyncpg.Pool = await asyncpg.create_pool(
        database_url,
        min_size=1,
        max_size=size_max,
        command_timeout=60,
        server_settings={"timezone": "UTC", "application_name": "tollgate"},
    )
    return pool


async def connect(database_url: str) -> asyncpg.Connection:
    """One connection; raises OSError or asyncpg.PostgresError."""
    return await asyncpg.connect(
        database_url,
        timeout=10,
        command_timeout=60,
        server_settings={"timezone": "UTC", "application_name": "tollgate"},
    )
