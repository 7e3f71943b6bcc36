"""`tollgate conflicts`: events whose transaction_id was seen before with other content.

They count as duplicates. What such an event says stands in usage.raw at its offset, what was
counted at the first offset of the same partition. Only reads.
"""

from collections.abc import Sequence

import asyncpg

from services.ops.listing import (
    Listing,
    Page,
    Row,
    cursor_of,
    in_words,
    page_of,
    place_of,
    run_listing,
)

_READ = """
SELECT transaction_id, partition, raw_offset AS "offset", first_offset, ingested_at
FROM conflicting_event
WHERE generation = (SELECT generation FROM live_generation)
  AND ($1::timestamptz IS NULL OR (ingested_at, partition, raw_offset) < ($1, $2::int, $3::bigint))
ORDER BY ingested_at DESC, partition DESC, raw_offset DESC LIMIT $4
"""


async def read(connection: asyncpg.Connection, limit: int, cursor: str | None) -> Page:
    """See Listing."""
    rows = await connection.fetch(_READ, *place_of(cursor), limit + 1)
    return page_of([dict(row) for row in rows], limit, cursor_of)


def lines(row: Row) -> Sequence[str]:
    """See Listing."""
    return [
        f"partition {row['partition']} offset {row['offset']}, ingested {row['ingested_at']}:"
        f" {in_words(row['transaction_id'])} was first seen at offset {row['first_offset']}"
    ]


CONFLICTS = Listing(
    "conflicts",
    "Events whose transaction_id was seen before with other content, newest first. They count as"
    " duplicates; what they say stands in usage.raw at their offset.",
    read,
    lines,
)


def main(argv: list[str]) -> int:
    """Entry."""
    return run_listing(CONFLICTS, argv)
