"""`tollgate rejected`: records that were not counted, with the reason and their very bytes.

A record that is no event has no metric; an event that one metric could not count names it. Only
reads.
"""

from collections.abc import Sequence
from uuid import UUID

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
    shown_bytes,
)

_READ = """
SELECT partition, raw_offset AS "offset", metric_id, reason, detail, record_key, record_value,
    ingested_at, rejected_at, catalog_version
FROM rejected_event
WHERE generation = (SELECT generation FROM live_generation)
  AND ($1::timestamptz IS NULL
       OR (ingested_at, partition, raw_offset, metric_id) < ($1, $2::int, $3::bigint, $4::uuid))
ORDER BY ingested_at DESC, partition DESC, raw_offset DESC, metric_id DESC LIMIT $5
"""
_NO_METRIC = UUID(int=0)


async def read(connection: asyncpg.Connection, limit: int, cursor: str | None) -> Page:
    """See Listing."""
    rows = await connection.fetch(_READ, *place_of(cursor, UUID), limit + 1)
    return page_of([_row(row) for row in rows], limit, _cursor)


def _row(row: asyncpg.Record) -> Row:
    return {
        "partition": row["partition"],
        "offset": row["offset"],
        "metric_id": None if row["metric_id"] == _NO_METRIC else row["metric_id"],
        "reason": row["reason"],
        "detail": row["detail"],
        "key": shown_bytes(row["record_key"]),
        "value": shown_bytes(row["record_value"]),
        "ingested_at": row["ingested_at"],
        "rejected_at": row["rejected_at"],
        "catalog_version": row["catalog_version"],
    }


def _cursor(row: Row) -> str:
    return cursor_of(row, row["metric_id"] or _NO_METRIC)


def lines(row: Row) -> Sequence[str]:
    """See Listing."""
    by = "" if row["metric_id"] is None else f" by metric {row['metric_id']}"
    return [
        f"partition {row['partition']} offset {row['offset']}, ingested {row['ingested_at']},"
        f" rejected {row['rejected_at']}{by}: {row['reason']}",
        f"  detail: {in_words(row['detail'])}",
        f"  key:    {in_words(row['key'])}",
        f"  value:  {in_words(row['value'])}",
    ]


REJECTED = Listing(
    "rejected",
    "Records that were not counted, newest first: the reason, the key (an event's transaction_id)"
    " and the value as it stands in usage.raw.",
    read,
    lines,
)


def main(argv: list[str]) -> int:
    """Entry."""
    return run_listing(REJECTED, argv)
