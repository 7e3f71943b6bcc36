"""Drafts in PostgreSQL: the work list is taken with SKIP LOCKED, invoices are locked in id order.

The totals are read by statements that start after the marks were taken and the invoices locked
(READ COMMITTED), so nothing that was marked can be missing from what is priced.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.domain.period import month_start, oldest_draft_month
from services.domain.pricing.book import Moved
from services.domain.pricing.usage import PeriodUsage
from services.projector.credits_postgres import lock_credits, mark_later, with_usage
from services.projector.drafts import (
    NO_CREDITS,
    DraftBatch,
    DraftCredits,
    PricedDraft,
    StaleDraft,
    draft_of,
    marked_periods,
)
from services.projector.live_postgres import share_live
from services.projector.marks_postgres import Mark, take_marks
from services.projector.openings_postgres import Opening, close_drafts, open_drafts
from services.projector.plan_grants_postgres import grant_by_plans
from services.projector.quantities_postgres import read_quantities
from services.projector.turns_postgres import have_pricing_turn, held_at_work
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf

# Whose the marks are, and the plans of those. LATERAL and OFFSET 0 fix the order of the joins, each
# level one probe of an index, whatever the statistics say (tests/contract/test_plans.py).
_PLANS_OF = f"""
SELECT {TERMS_COLUMNS}, t.month, g.credited
FROM (
    SELECT DISTINCT coalesce(m.customer_id, r.customer_id) AS customer_id, m.month
    FROM unnest($1::uuid[], $2::text[], $3::date[]) AS m(customer_id, reference, month)
    LEFT JOIN LATERAL (
        SELECT r.customer_id FROM customer_reference r WHERE r.reference = m.reference OFFSET 0
    ) AS r ON true
) AS t
LEFT JOIN LATERAL (
    SELECT true AS credited FROM credit_grant g WHERE g.customer_id = t.customer_id LIMIT 1
) AS g ON true
CROSS JOIN LATERAL (
    SELECT {TERMS_COLUMNS} FROM customer_plan c
    WHERE c.customer_id = t.customer_id OFFSET 0
) AS c
CROSS JOIN LATERAL (
    SELECT FROM customer u WHERE u.id = t.customer_id AND u.archived_at IS NULL OFFSET 0
) AS u
"""  # noqa: S608 (constants)

# What is accepted up to as_of is in the draft: the partition that lags most says how far.
_WRITE = """
UPDATE invoice SET document = w.document::jsonb, priced_at = $3,
    as_of = coalesce((SELECT min(ingested_to) FROM projection_position WHERE generation = $4), $3),
    catalog_version = (SELECT version FROM catalog_version)
FROM unnest($1::uuid[], $2::text[]) AS w(id, document)
WHERE invoice.id = w.id
"""

# The months from where a plan's invoices end, which is usually now; after a time without pricing,
# every month since. $1: no older months have drafts; $2: now.
_UNOPENED = """
INSERT INTO stale_draft (customer_id, month)
SELECT DISTINCT t.customer_id, m.month::date
FROM (
    SELECT c.customer_id, greatest(coalesce(i.ends_at, c.starting_on), $1) AS since,
        least(c.ending_before, $2) AS until
    FROM customer_plan c
    JOIN customer u ON u.id = c.customer_id AND u.archived_at IS NULL
    LEFT JOIN LATERAL (
        SELECT i.ends_at FROM invoice i WHERE i.customer_plan_id = c.id
        ORDER BY i.ends_at DESC LIMIT 1
    ) AS i ON true
) AS t
CROSS JOIN LATERAL generate_series(
    date_trunc('month', t.since, 'UTC'), t.until, interval '1 month') AS m(month)
WHERE t.since < t.until OR (t.since = t.until AND t.until = $2)
"""


class PostgresDrafts:
    """See `services.projector.drafts.Drafts`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._terms = TermsShelf()

    @asynccontextmanager
    async def take(
        self, count_max: int, now: datetime, *, alone: bool = False
    ) -> AsyncIterator[DraftBatch | None]:
        """See Drafts."""
        async with self._pool.acquire() as connection, connection.transaction():
            if alone and not await have_pricing_turn(connection):
                yield None
                return
            live = await share_live(connection)
            marks = await take_marks(connection, count_max)
            taken = await self._lock(connection, marks, now) if marks else _Taken([], set())
            yield _PostgresDraftBatch(connection, live, len(marks), taken)

    async def open_periods(self, now: datetime) -> int:
        """See Drafts."""
        oldest = oldest_draft_month(now)
        marked = await self._pool.execute(_UNOPENED, oldest, now)
        return int(marked.rpartition(" ")[2])

    async def _lock(
        self, connection: asyncpg.Connection, marks: Sequence[Mark], now: datetime
    ) -> "_Taken":
        rows = await connection.fetch(
            _PLANS_OF, *(list(column) for column in zip(*marks, strict=True))
        )
        await close_drafts(connection, marks, rows)
        every = await self._terms.get(connection, rows)
        periods = {
            (held.id, billed.held.start): Opening(held, billed)
            for row, held in zip(rows, every, strict=True)
            for billed in marked_periods(held, month_start(row["month"]), now)
        }
        found, opened = await open_drafts(connection, periods)
        await grant_by_plans(connection, [periods[place].terms for place in opened], now)
        drafts = [
            draft_of(invoice_id, opening.terms, opening.billed)
            for place, (invoice_id, _) in found.items()
            if (opening := periods.get(place)) is not None
        ]
        credited = {
            held.customer_id
            for row, held in zip(rows, every, strict=True)
            if row["credited"] or held.plan.credit_grants
        }
        return _Taken(drafts, credited)


class _Taken(NamedTuple):
    """Stale drafts, and the customers that have, or once had, grants."""

    drafts: Sequence[StaleDraft]
    credited: AbstractSet[UUID]


class _PostgresDraftBatch:
    """See `services.projector.drafts.DraftBatch`."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        generation: int,
        marks: int,
        taken: _Taken,
    ) -> None:
        self._connection = connection
        self._generation = generation
        self._marks = marks
        self._drafts = taken.drafts
        self._credited = taken.credited
        self._moved: Sequence[Moved] = ()

    @property
    def taken(self) -> int:
        """See DraftBatch."""
        return self._marks

    @property
    def drafts(self) -> Sequence[StaleDraft]:
        """See DraftBatch."""
        return self._drafts

    async def quantities(self) -> Mapping[UUID, PeriodUsage]:
        """See DraftBatch."""
        return await read_quantities(self._connection, self._drafts, self._generation)

    async def credits(self, quantities: Mapping[UUID, PeriodUsage]) -> DraftCredits:
        """See DraftBatch."""
        drafts = [draft for draft in self._drafts if draft.customer_id in self._credited]
        if not drafts:
            return NO_CREDITS
        book = await lock_credits(self._connection, drafts)
        self._moved = book.moved
        return await with_usage(self._connection, drafts, book, quantities, self._generation)

    def held(self) -> AbstractAsyncContextManager[None]:
        """See DraftBatch."""
        return held_at_work(self._connection)

    async def write(self, priced: Sequence[PricedDraft], priced_at: datetime) -> None:
        """See DraftBatch."""
        await self._connection.execute(
            _WRITE,
            [draft.invoice_id for draft in priced],
            [draft.document.decode() for draft in priced],
            priced_at,
            self._generation,
        )
        await mark_later(self._connection, self._moved, [draft.invoice_id for draft in priced])
