"""API tokens: made once, shown once, kept only as a hash.

A token is 256 random bits, so one SHA-256 suffices (there is nothing to guess). Never logs a token.
"""

import asyncio
import hashlib
import secrets
from contextlib import suppress
from uuid import uuid4

import asyncpg

from services.runtime.postgres import DATABASE_AWAY, connect

PREFIX = "tg_"
# A token made a moment ago works at once (looked up when it is not in the snapshot); an archived
# one stops working within this time.
REFRESH_S = 2.0
# Unknown tokens are looked up at most this often, so that guessing cannot load the database.
MISS_INTERVAL_S = 0.05


def new_token() -> str:
    """A fresh token."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


async def ensure_token(database_url: str, name: str, token: str) -> None:
    """Store `token` under `name` unless it is there already."""
    connection = await connect(database_url)
    try:
        await connection.execute(
            "INSERT INTO api_token (id, name, token_hash) VALUES ($1, $2, $3)"
            " ON CONFLICT (token_hash) DO NOTHING",
            uuid4(),
            name,
            hash_token(token),
        )
    finally:
        await connection.close()


async def create_token(database_url: str, name: str) -> str:
    """Make and store a token; the only time its text exists outside its owner's hands."""
    token = new_token()
    await ensure_token(database_url, name, token)
    return token


class TokensUnavailable(ConnectionError):
    """Whether the token is valid cannot be known: it is not in the snapshot and PostgreSQL, which
    would know, is away. The answer is 503, never a 401 that a client takes for final."""


class TokenCache:
    """Tokens by hash, from a snapshot that outlives an absence of Postgres."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._names: dict[bytes, str] = {}
        self._lookup = asyncio.Lock()

    async def name_of(self, token: str) -> str | None:
        """The name of a valid token, None for any other. A token of the snapshot needs no
        database; for any other raises TokensUnavailable while the database is away."""
        key = hash_token(token)
        name = self._names.get(key)
        if name is not None:
            return name
        async with self._lookup:
            if key not in self._names:
                await self._miss()
        return self._names.get(key)

    async def _miss(self) -> None:
        try:
            await self.refresh()
        except DATABASE_AWAY as error:
            raise TokensUnavailable("PostgreSQL does not answer") from error
        await asyncio.sleep(MISS_INTERVAL_S)

    async def refresh(self) -> None:
        """Read the snapshot anew."""
        rows = await self._pool.fetch(
            "SELECT token_hash, name FROM api_token WHERE archived_at IS NULL", timeout=5
        )
        self._names = {bytes(row["token_hash"]): row["name"] for row in rows}

    async def keep_fresh(self) -> None:
        """Refresh for ever; an absent database leaves the snapshot as it is."""
        while True:
            with suppress(*DATABASE_AWAY):  # the snapshot stays; readiness reports the database
                await self.refresh()
            await asyncio.sleep(REFRESH_S)
