"""`tollgate late`: finalized invoices, of all customers, for which usage came too late. It is in no
invoice until one of them is voided and regenerated. Only reads.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.domain.number import plain, subtract, text_of
from services.ops.listing import BadCursor, Listing, Page, Row, in_words, page_of, run_listing

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_READ = """
SELECT i.id AS invoice_id, i.customer_id, c.name AS customer_name, p.name AS plan_name,
    i.starts_at AS start_timestamp, i.ends_at AS end_timestamp, t.name AS credit_type,
    i.document ->> 'total' AS finalized, l.document ->> 'total' AS current, l.as_of, l.noted_at
FROM late_usage l
JOIN invoice i ON i.id = l.invoice_id AND i.status = 'FINALIZED'
JOIN customer c ON c.id = i.customer_id
JOIN plan p ON p.id = i.plan_id
JOIN credit_type t ON t.id = i.credit_type_id
WHERE $1::timestamptz IS NULL OR (l.noted_at, l.invoice_id) < ($1, $2::uuid)
ORDER BY l.noted_at DESC, l.invoice_id DESC LIMIT $3
"""


async def read(connection: asyncpg.Connection, limit: int, cursor: str | None) -> Page:
    """See Listing."""
    rows = await connection.fetch(_READ, *_place_of(cursor), limit + 1)
    return page_of([_shown(row) for row in rows], limit, _cursor_of)


def _shown(row: asyncpg.Record) -> Row:
    finalized, current = Decimal(row["finalized"]), Decimal(row["current"])
    late = plain(subtract(current, finalized))
    amounts = {"finalized": plain(finalized), "current": plain(current), "late": late}
    return {**dict(row), **amounts}


def _cursor_of(row: Row) -> str:
    return f"{(row['noted_at'] - _EPOCH) // _MICROSECOND}:{row['invoice_id']}"


def _place_of(cursor: str | None) -> tuple[datetime | None, UUID | None]:
    if cursor is None:
        return None, None
    noted, _, invoice_id = cursor.partition(":")
    try:
        return _EPOCH + int(noted) * _MICROSECOND, UUID(invoice_id)
    except (ValueError, OverflowError) as error:
        raise BadCursor(f"{cursor!r} is no cursor: take what the page before ended with") from error


def lines(row: Row) -> Sequence[str]:
    """See Listing."""
    period = f"{row['start_timestamp']:%Y-%m-%d} to {row['end_timestamp']:%Y-%m-%d}"
    return [
        f"invoice {row['invoice_id']}, {period}, of customer {row['customer_id']}"
        f" {in_words(row['customer_name'])}: {text_of(row['finalized'])} as it is,"
        f" {text_of(row['current'])} {row['credit_type']} with what came late"
    ]


LATE = Listing(
    "late",
    "Finalized invoices for which usage came too late, the last to be noticed first. Void and"
    " regenerate one to bill it; GET /v1/tollgate/invoices/ID/late-usage says which charges it is.",
    read,
    lines,
)


def main(argv: list[str]) -> int:
    """Entry."""
    return run_listing(LATE, argv)
