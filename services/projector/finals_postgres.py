"""What becomes final, in PostgreSQL. Two connections finalize: one holds the locks, the other reads
a snapshot that was taken once they were held. So usage, positions, plans and aliases are of one
instant, and what the invoice says is exactly what was counted then.

Locks in one order everywhere: who is live (shared with promotions), customers, their plans (the API
changes those), invoices, grants; each in order of id. Invoices that others hold are left for the
next look, and so are those that come after a draft which takes from the same grants: what is final
took its credits in the order of invoices, and each only what was left of them for good.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from services.domain.invoice_life import finality
from services.domain.pricing.book import CreditBook
from services.projector.credits_postgres import lock_credits_of, mark_later
from services.projector.documents_postgres import documents_of, drafts_of
from services.projector.drafts import StaleDraft
from services.projector.finals import Due, Finalized
from services.projector.late_postgres import compare_late
from services.projector.live_postgres import share_live
from services.projector.turns_postgres import held_at_work
from services.runtime.credit_rows import STANDING, stored_credits
from services.runtime.customer_terms import TermsShelf
from services.runtime.failpoint import reach

# Invoices a transaction: locks are held for a tenth of a second.
BATCH = 200

_NEXT_END = """
SELECT min(ends_at) FROM invoice
WHERE status = 'DRAFT' AND ends_at <= $2 AND ($1::timestamptz IS NULL OR ends_at > $1)
"""
_POSITIONS = """
SELECT partition, next_raw_offset, ingested_to FROM projection_position
WHERE generation = (SELECT generation FROM live_generation)
"""
_DUE = """
SELECT id, customer_id, customer_plan_id FROM invoice
WHERE status = 'DRAFT' AND ends_at = $1 AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3
"""
# Held against changes of aliases, and against archiving.
_CUSTOMERS = """
SELECT id FROM customer WHERE id = ANY($1) AND archived_at IS NULL ORDER BY id FOR SHARE
"""
# Held against another end.
_PLANS = "SELECT id FROM customer_plan WHERE id = ANY($1) ORDER BY id FOR SHARE"
# A customer that was changed: pricing may have to cut the period elsewhere, or to take the draft
# away. Marks of usage only say that the price is old, and it is not used.
_CHANGED = "SELECT DISTINCT customer_id FROM stale_draft WHERE customer_id = ANY($1)"
_INVOICES = """
SELECT id, customer_plan_id, starts_at, ends_at FROM invoice
WHERE id = ANY($1) AND customer_id = ANY($2) AND status = 'DRAFT' AND ends_at = $3
ORDER BY id FOR UPDATE SKIP LOCKED
"""
# A draft that comes before, and may still take from a grant that pays for both: it goes first,
# whatever it comes to in the end.
_BEFORE = f"""
SELECT i.id, e.id AS before
FROM unnest($1::uuid[]) AS k(id)
CROSS JOIN LATERAL (SELECT i.* FROM invoice i WHERE i.id = k.id OFFSET 0) AS i
CROSS JOIN LATERAL (
    SELECT e.id, e.status, e.starts_at, e.ends_at FROM invoice e
    WHERE e.customer_id = i.customer_id OFFSET 0
) AS e
CROSS JOIN LATERAL (
    SELECT FROM credit_grant g
    WHERE g.customer_id = i.customer_id AND {STANDING}
        AND g.effective_at < least(i.ends_at, e.ends_at)
        AND g.expires_at > greatest(i.starts_at, e.starts_at) LIMIT 1
) AS g
WHERE e.status = 'DRAFT' AND (e.ends_at, e.id) < (i.ends_at, i.id)
"""  # noqa: S608 (constants)
_FINALIZE = """
UPDATE invoice SET status = 'FINALIZED', document = f.document::jsonb, credits = f.credits::jsonb,
    digest = document_digest(f.document::jsonb), issued_at = $3, priced_at = $3, as_of = $4,
    catalog_version = (SELECT version FROM catalog_version)
FROM unnest($1::uuid[], $2::text[], $5::text[]) AS f(id, document, credits)
WHERE invoice.id = f.id AND invoice.status = 'DRAFT'
"""


class PostgresFinals:
    """See `services.projector.finals.Finals`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Two connections of the pool are used at a time."""
        self._pool = pool
        self._terms = TermsShelf()

    async def next_end(self, after: datetime | None, until: datetime) -> datetime | None:
        """See Finals."""
        end: datetime | None = await self._pool.fetchval(_NEXT_END, after, until)
        return end

    async def positions(self) -> Mapping[int, int]:
        """See Finals."""
        return {row[0]: row[1] for row in await self._pool.fetch(_POSITIONS)}

    async def finalize(
        self, end: datetime, after: UUID | None, offsets: Mapping[int, int], due: Due
    ) -> Finalized:
        """See Finals."""
        async with self._pool.acquire() as connection, connection.transaction():
            generation = await share_live(connection)
            found = await connection.fetch(_DUE, end, after, BATCH)
            invoices = await _lock(connection, found, end) if found else []
            drafts = await drafts_of(connection, self._terms, invoices) if invoices else []
            book = await lock_credits_of(connection, drafts)
            if book:
                drafts = await _in_turn(connection, drafts)
            if drafts:
                await self._finalize(connection, generation, drafts, book, offsets=offsets, due=due)
                reach("before_final_commit")
        if drafts:
            reach("after_final_commit")
        return Finalized(len(drafts), found[-1]["id"] if len(found) == BATCH else None)

    async def compare_late(self, now: datetime) -> int:
        """See Finals."""
        if not await self._pool.fetchval("SELECT EXISTS (SELECT FROM late_mark)"):
            return 0
        async with self._pool.acquire() as connection, connection.transaction():
            return await compare_late(connection, self._terms, now)

    async def _finalize(
        self,
        connection: asyncpg.Connection,
        generation: int,
        drafts: Sequence[StaleDraft],
        book: CreditBook,
        *,
        offsets: Mapping[int, int],
        due: Due,
    ) -> None:
        async with (
            self._pool.acquire() as reader,
            reader.transaction(isolation="repeatable_read", readonly=True),
            held_at_work(connection),
        ):
            rows = await reader.fetch(_POSITIONS)
            documents = await documents_of(reader, drafts, generation, book)
        # The caller has seen to it, and positions never move back.
        positions = {row["partition"]: row["next_raw_offset"] for row in rows}
        end = drafts[0].period.end
        assert finality(end, due.now, positions, offsets, due.due_at - end).reached
        counted_to = min((row["ingested_to"] for row in rows), default=due.due_at)
        finalized = await connection.execute(
            _FINALIZE,
            list(documents),
            [document.decode() for document in documents.values()],
            due.now,
            # A partition that has had nothing for long is not behind.
            max(counted_to, due.due_at),
            [stored_credits(had) if (had := book.given.get(key)) else None for key in documents],
        )
        assert finalized == f"UPDATE {len(drafts)}", "a draft that is locked was changed"
        await mark_later(connection, book.moved, list(documents))


async def _lock(
    connection: asyncpg.Connection, found: Sequence[asyncpg.Record], end: datetime
) -> list[asyncpg.Record]:
    """Of these drafts, those that can be finalized, locked with what they depend on."""
    customers = sorted({row["customer_id"] for row in found})
    active = {row["id"] for row in await connection.fetch(_CUSTOMERS, customers)}
    await connection.fetch(_PLANS, sorted({row["customer_plan_id"] for row in found}))
    changed = {row["customer_id"] for row in await connection.fetch(_CHANGED, customers)}
    rows: list[asyncpg.Record] = await connection.fetch(
        _INVOICES, [row["id"] for row in found], list(active - changed), end
    )
    return rows


async def _in_turn(
    connection: asyncpg.Connection, drafts: Sequence[StaleDraft]
) -> list[StaleDraft]:
    """Without those that have to wait until a draft before them is final: their turn comes."""
    rows = await connection.fetch(_BEFORE, [draft.invoice_id for draft in drafts])
    before: dict[UUID, set[UUID]] = {}
    for row in rows:
        before.setdefault(row["id"], set()).add(row["before"])
    going: dict[UUID, StaleDraft] = {}
    for draft in sorted(drafts, key=lambda each: each.taker.place):
        if before.get(draft.invoice_id, set()) <= going.keys():
            going[draft.invoice_id] = draft
    return list(going.values())
