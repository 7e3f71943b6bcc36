"""Usage that came too late for a finalized invoice, in PostgreSQL: marked by the pricing
(`late_marks_postgres`), compared afterwards, listed beside the invoice. Never touches the invoice.
Credits are those that the invoice had available, whatever became of them since.

A mark is taken in the transaction that compares, after the invoice is locked: what was marked is in
what is read, and of two that compare the same invoice the later one read more.
"""

from datetime import datetime

import asyncpg

from services.domain.pricing.book import CreditBook
from services.projector.credits_postgres import settled_credits
from services.projector.documents_postgres import documents_of, drafts_of
from services.projector.live_postgres import share_live
from services.runtime.customer_terms import TermsShelf

# Marks a transaction.
MARKS_MAX = 200

_TAKE = """
DELETE FROM late_mark WHERE id = ANY (ARRAY (
    SELECT id FROM late_mark ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING invoice_id
"""
_LOCK = """
SELECT id, customer_plan_id, starts_at, ends_at, credits FROM invoice
WHERE id = ANY($1) AND status = 'FINALIZED' ORDER BY id FOR NO KEY UPDATE
"""
# Read before the usage, so that it never says too much.
_AS_OF = "SELECT min(ingested_to) FROM projection_position WHERE generation = $1"
# Usage may come to the same again: a correction, or another generation.
_FORGET = """
DELETE FROM late_usage l USING unnest($1::uuid[], $2::text[]) AS n(id, document), invoice i
WHERE l.invoice_id = n.id AND i.id = n.id AND i.document = n.document::jsonb
"""
_NOTE = """
INSERT INTO late_usage (invoice_id, document, as_of, noted_at)
SELECT n.id, n.document::jsonb, $4, $3
FROM unnest($1::uuid[], $2::text[]) AS n(id, document) JOIN invoice i ON i.id = n.id
WHERE i.document <> n.document::jsonb ORDER BY n.id
ON CONFLICT (invoice_id) DO UPDATE SET document = excluded.document, as_of = excluded.as_of,
    noted_at = CASE WHEN late_usage.document = excluded.document THEN late_usage.noted_at
        ELSE excluded.noted_at END
"""


async def compare_late(connection: asyncpg.Connection, shelf: TermsShelf, now: datetime) -> int:
    """Within a transaction: take marks and note what their invoices would be; returns how many."""
    generation = await share_live(connection)
    marks = {row["invoice_id"] for row in await connection.fetch(_TAKE, MARKS_MAX)}
    invoices = await connection.fetch(_LOCK, list(marks)) if marks else []
    if invoices:
        as_of = await connection.fetchval(_AS_OF, generation) or now
        drafts = await drafts_of(connection, shelf, invoices)
        book = CreditBook({}, {}, await settled_credits(connection, invoices))
        documents = await documents_of(connection, drafts, generation, book)
        columns = list(documents), [document.decode() for document in documents.values()]
        await connection.execute(_FORGET, *columns)
        await connection.execute(_NOTE, *columns, now, as_of)
    return len(marks)
