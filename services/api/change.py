"""The one way to change the catalog: a transaction that takes the next version first and appends
to the audit last. Nothing else writes to a catalog table.

The update of the one row of catalog_version is a lock: changes happen one after another, so a
check made inside one (is this alias free?) still holds when it commits, versions and ordinals are
in commit order, and rating, which reads the version, knows when its snapshot is stale.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg

from services.api.context import ACQUIRE_S, Context
from services.runtime.json import encode_json


@dataclass(slots=True)
class Change:
    """A change under way; what it does is put into `detail` for the audit."""

    connection: asyncpg.Connection
    version: int
    entity_id: UUID
    detail: dict[str, object] = field(default_factory=dict)


@asynccontextmanager
async def changing(
    context: Context, actor: str, action: str, entity_id: UUID
) -> AsyncIterator[Change]:
    """Run the block as one change; an exception in it leaves no trace, not even a version."""
    async with (
        context.pool.acquire(timeout=ACQUIRE_S) as connection,
        connection.transaction(),
    ):
        version = await connection.fetchval(
            "UPDATE catalog_version SET version = version + 1 RETURNING version"
        )
        change = Change(connection, version, entity_id)
        yield change
        await connection.execute(
            "INSERT INTO catalog_audit (version, at, actor, action, entity_id, detail)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            version,
            context.now(),
            actor,
            action,
            entity_id,
            encode_json(change.detail).decode(),
        )
