"""Conflicts of a flush into PostgreSQL, in the flush's own transaction. Only adds."""

import asyncpg

from services.projector.projection import Flush
from services.runtime.records import instant_of


async def add_conflicts(connection: asyncpg.Connection, flush: Flush, generation: int) -> None:
    """Insert them; raises asyncpg.UniqueViolationError for one that is there already."""
    if not flush.conflicts:
        return
    rows = [
        (
            partition,
            conflict.offset,
            conflict.first_offset,
            conflict.transaction_id,
            instant_of(conflict.ingested_at_ms),
        )
        for partition, conflict in flush.conflicts
    ]
    await connection.execute(
        "INSERT INTO conflicting_event (generation, partition, raw_offset, first_offset,"
        " transaction_id, ingested_at)"
        " SELECT $6, * FROM"
        " unnest($1::int[], $2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[])",
        *(list(column) for column in zip(*rows, strict=True)),
        generation,
    )
