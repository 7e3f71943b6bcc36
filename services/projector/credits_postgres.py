"""Credits of the invoices that are priced together, from PostgreSQL.

No credit is spent twice: whoever prices holds the grants that can pay for what is priced, in order
of customer and id, and only then reads what other invoices take. Locks are taken after those of
invoices, and nothing is waited for while they are held.

Each draft takes what the ones before it leave. Where a draft takes something else than before, the
later ones that the same grant can pay for are marked. That goes one way along the order of
invoices, so it comes to an end.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from services.domain.period import Period
from services.domain.pricing.book import CreditBook, Moved
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.usage import PeriodUsage
from services.projector.drafts import NO_CREDITS, DraftCredits, StaleDraft, UsedUntil
from services.projector.quantities_postgres import Span, read_spans
from services.runtime.credit_rows import (
    GRANT_COLUMNS,
    STANDING,
    credits_of,
    grant_of,
    read_deductions,
)
from services.runtime.plan_rows import read_units

# LATERAL, OFFSET 0 and LIMIT 1: see `quantities_postgres`.
_CREDITED = """
SELECT k.customer_id FROM unnest($1::uuid[]) AS k(customer_id)
CROSS JOIN LATERAL (
    SELECT FROM credit_grant g WHERE g.customer_id = k.customer_id LIMIT 1
) AS g
"""

# Those that hold at any time of [$2, $3).
_GRANTS = f"""
SELECT g.* FROM unnest($1::uuid[]) AS k(customer_id)
CROSS JOIN LATERAL (
    SELECT {GRANT_COLUMNS} FROM credit_grant g
    WHERE g.customer_id = k.customer_id AND g.effective_at < $3 AND g.expires_at > $2
        AND {STANDING}
    ORDER BY g.id OFFSET 0 {{lock}}
) AS g
"""  # noqa: S608 (constants)
_LOCK_GRANTS = _GRANTS.format(lock="FOR NO KEY UPDATE OF g")
_READ_GRANTS = _GRANTS.format(lock="")

# A void grant pays for nothing any more, and one that was edited may pay for other drafts.
_MARK_LATER = """
INSERT INTO stale_draft (customer_id, month)
SELECT DISTINCT m.customer_id, date_trunc('month', i.starts_at, 'UTC')::date
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[])
    AS m(customer_id, grant_id, ends_at, invoice_id)
CROSS JOIN LATERAL (
    SELECT g.effective_at, g.expires_at FROM credit_grant g WHERE g.id = m.grant_id OFFSET 0
) AS g
CROSS JOIN LATERAL (
    SELECT i.id, i.status, i.starts_at, i.ends_at FROM invoice i
    WHERE i.customer_id = m.customer_id OFFSET 0
) AS i
WHERE i.status = 'DRAFT' AND (i.ends_at, i.id) > (m.ends_at, m.invoice_id)
    AND i.starts_at < g.expires_at AND i.ends_at > g.effective_at AND i.id <> ALL($5::uuid[])
"""


async def lock_credits(connection: asyncpg.Connection, drafts: Sequence[StaleDraft]) -> CreditBook:
    """The grants of the drafts' customers, held until the end of the transaction, and what other
    invoices take from them."""
    grants = await _grants(connection, _LOCK_GRANTS, drafts)
    return CreditBook(grants, await read_deductions(connection, grants))


async def lock_credits_of(
    connection: asyncpg.Connection, drafts: Sequence[StaleDraft]
) -> CreditBook:
    """As `lock_credits`, where most of the customers have no grants."""
    customers = list({draft.customer_id for draft in drafts})
    rows = await connection.fetch(_CREDITED, customers) if customers else []
    credited = {row["customer_id"] for row in rows}
    mine = [draft for draft in drafts if draft.customer_id in credited]
    return await lock_credits(connection, mine) if mine else CreditBook({}, {})


async def read_grants(
    connection: asyncpg.Connection, drafts: Sequence[StaleDraft]
) -> Mapping[UUID, list[CreditGrant]]:
    """By customer of the drafts, the grants that may pay for them; of the connection's snapshot."""
    return await _grants(connection, _READ_GRANTS, drafts)


async def settled_credits(
    connection: asyncpg.Connection, invoices: Sequence[asyncpg.Record]
) -> dict[UUID, Sequence[AvailableGrant]]:
    """By id, what finalized invoices had available: rows with id and credits."""
    stored = {row["id"]: row["credits"] for row in invoices if row["credits"] is not None}
    units = await read_units(connection) if stored else {}
    return {invoice_id: credits_of(text, units) for invoice_id, text in stored.items()}


async def with_usage(
    connection: asyncpg.Connection,
    drafts: Iterable[StaleDraft],
    book: CreditBook,
    usage: Mapping[UUID, PeriodUsage],
    generation: int,
) -> DraftCredits:
    """A book with what was used up to each instant at which one of its grants begins or expires
    inside a draft's period. `usage`: of the whole periods, by invoice id."""
    if not book:
        return NO_CREDITS
    cuts: list[tuple[StaleDraft, datetime]] = [
        (draft, cut)
        for draft in drafts
        if book.concerns(draft.customer_id, draft.invoice_id)
        for cut in book.cuts(draft.taker)
    ]
    if not cuts:
        return DraftCredits(book, {})
    spans = [
        Span(draft.customer_id, Period(draft.period.start, cut), draft.plan) for draft, cut in cuts
    ]
    used_until: dict[UUID, list[tuple[datetime, PeriodUsage]]] = {}
    found = await read_spans(connection, spans, generation)
    for (draft, cut), used in zip(cuts, found, strict=True):
        earlier = usage[draft.invoice_id].earlier
        used_until.setdefault(draft.invoice_id, []).append((cut, used._replace(earlier=earlier)))
    shown: UsedUntil = used_until
    return DraftCredits(book, shown)


async def mark_later(
    connection: asyncpg.Connection, moved: Sequence[Moved], priced: Sequence[UUID]
) -> None:
    """Mark the drafts that come after those of which a share has moved, but those `priced` with
    them; mostly there are none."""
    if not moved:
        return
    await connection.execute(
        _MARK_LATER,
        [each.taker.customer_id for each in moved],
        [each.grant_id for each in moved],
        [each.taker.period.end for each in moved],
        [each.taker.invoice_id for each in moved],
        list(priced),
    )


async def _grants(
    connection: asyncpg.Connection, query: str, drafts: Sequence[StaleDraft]
) -> dict[UUID, list[CreditGrant]]:
    customers = sorted({draft.customer_id for draft in drafts})
    start = min(draft.period.start for draft in drafts)
    end = max(draft.period.end for draft in drafts)
    rows = await connection.fetch(query, customers, start, end)
    grants: dict[UUID, list[CreditGrant]] = {customer_id: [] for customer_id in customers}
    units = await read_units(connection) if rows else {}
    for row in rows:
        grants[row["customer_id"]].append(grant_of(row, units))
    return grants
