"""Drafts in PostgreSQL: the work list is taken with SKIP LOCKED, invoices are locked in id order.

The totals are read by statements that start after the marks were taken and the invoices locked
(READ COMMITTED), so nothing that was marked can be missing from what is priced.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg

from services.domain.period import Period, month_start, monthly_period, next_month
from services.domain.plan import Plan
from services.projector.drafts import DraftBatch, PricedDraft, StaleDraft
from services.projector.live_postgres import share_live
from services.projector.quantities_postgres import read_quantities
from services.runtime.plan_rows import PlanShelf

_TAKE = """
DELETE FROM stale_draft WHERE id IN
    (SELECT id FROM stale_draft ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)
RETURNING customer_id, reference, month
"""

_PLANS_OF = """
SELECT c.id, c.customer_id, c.plan_id, c.starting_on, c.ending_before, t.month, p.credit_type_id
FROM (
    SELECT DISTINCT coalesce(m.customer_id, r.customer_id) AS customer_id, m.month
    FROM unnest($1::uuid[], $2::text[], $3::date[]) AS m(customer_id, reference, month)
    LEFT JOIN customer_reference r ON r.reference = m.reference
) AS t
JOIN customer_plan c ON c.customer_id = t.customer_id
JOIN plan p ON p.id = c.plan_id
JOIN customer u ON u.id = c.customer_id AND u.archived_at IS NULL
"""

_OPEN = """
INSERT INTO invoice (id, customer_id, customer_plan_id, plan_id, credit_type_id, status, starts_at,
    ends_at, document, catalog_version, as_of, priced_at)
SELECT i.id, i.customer_id, i.customer_plan_id, i.plan_id, i.credit_type_id, 'DRAFT', i.starts_at,
    i.ends_at, '{}', 0, 'epoch', 'epoch'
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[],
            $7::timestamptz[])
  AS i(id, customer_id, customer_plan_id, plan_id, credit_type_id, starts_at, ends_at)
ORDER BY i.customer_plan_id, i.starts_at
ON CONFLICT (customer_plan_id, starts_at) WHERE status <> 'VOID'
DO UPDATE SET ends_at = excluded.ends_at WHERE invoice.status = 'DRAFT'
"""

# A plan that was ended has no drafts from its end on.
_CLOSE = """
DELETE FROM invoice i USING customer_plan c
WHERE i.customer_id = ANY($1) AND i.status = 'DRAFT' AND c.id = i.customer_plan_id
  AND i.starts_at >= c.ending_before
"""

# Archiving a customer voids what is not final (METRONOME 4.5).
_VOID_ARCHIVED = """
UPDATE invoice i SET status = 'VOID' FROM customer u
WHERE i.customer_id = ANY($1::uuid[]) AND i.status = 'DRAFT' AND u.id = i.customer_id
  AND u.archived_at IS NOT NULL
"""

_LOCK = """
SELECT i.id, i.customer_id, i.plan_id, i.starts_at, i.ends_at
FROM invoice i JOIN unnest($1::uuid[], $2::timestamptz[]) AS k(customer_plan_id, starts_at)
  ON i.customer_plan_id = k.customer_plan_id AND i.starts_at = k.starts_at
WHERE i.status = 'DRAFT'
ORDER BY i.id FOR UPDATE OF i
"""

# What is accepted up to as_of is in the draft: the partition that lags most says how far.
_WRITE = """
UPDATE invoice SET document = w.document::jsonb, priced_at = $3,
    as_of = coalesce((SELECT min(ingested_to) FROM projection_position WHERE generation = $4), $3),
    catalog_version = (SELECT version FROM catalog_version)
FROM unnest($1::uuid[], $2::text[]) AS w(id, document)
WHERE invoice.id = w.id
"""

_UNOPENED = """
INSERT INTO stale_draft (customer_id, month)
SELECT DISTINCT c.customer_id, $1::date FROM customer_plan c
JOIN customer u ON u.id = c.customer_id AND u.archived_at IS NULL
WHERE c.starting_on <= $2 AND (c.ending_before IS NULL OR c.ending_before > $2)
  AND NOT EXISTS (SELECT FROM invoice i WHERE i.customer_plan_id = c.id AND i.ends_at > $2)
"""


class PostgresDrafts:
    """See `services.projector.drafts.Drafts`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._plans = PlanShelf()

    @asynccontextmanager
    async def take(self, count_max: int) -> AsyncIterator[DraftBatch]:
        """See Drafts."""
        async with self._pool.acquire() as connection, connection.transaction():
            live = await share_live(connection)
            marks = await connection.fetch(_TAKE, count_max)
            drafts = await self._lock(connection, marks) if marks else []
            yield _PostgresDraftBatch(connection, live, len(marks), drafts)

    async def open_periods(self, now: datetime) -> int:
        """See Drafts."""
        marked = await self._pool.execute(_UNOPENED, month_start(now).date(), now)
        return int(marked.rpartition(" ")[2])

    async def _lock(
        self, connection: asyncpg.Connection, marks: Sequence[asyncpg.Record]
    ) -> list[StaleDraft]:
        rows = await connection.fetch(
            _PLANS_OF,
            [mark["customer_id"] for mark in marks],
            [mark["reference"] for mark in marks],
            [mark["month"] for mark in marks],
        )
        marked = [mark["customer_id"] for mark in marks if mark["customer_id"] is not None]
        await connection.execute(_VOID_ARCHIVED, marked)
        await connection.execute(_CLOSE, list({row["customer_id"] for row in rows}))
        periods = {
            (row["id"], period.start): (row, period)
            for row in rows
            if (
                period := monthly_period(
                    month_start(row["month"]), row["starting_on"], row["ending_before"]
                )
            )
        }
        if not periods:
            return []
        opened = [
            (
                uuid4(),
                row["customer_id"],
                row["id"],
                row["plan_id"],
                row["credit_type_id"],
                period.start,
                period.end,
            )
            for row, period in periods.values()
        ]
        await connection.execute(_OPEN, *(list(column) for column in zip(*opened, strict=True)))
        locked = await connection.fetch(
            _LOCK, [plan for plan, _ in periods], [start for _, start in periods]
        )
        plans = await self._plans.get(connection, {row["plan_id"] for row in locked})
        return [_draft(row, plans) for row in locked]


def _draft(row: asyncpg.Record, plans: Mapping[UUID, Plan]) -> StaleDraft:
    period = Period(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC))
    return draft_of(row["id"], row["customer_id"], plans[row["plan_id"]], period)


def draft_of(invoice_id: UUID, customer_id: UUID, plan: Plan, period: Period) -> StaleDraft:
    """What there is to price for one period of a customer's plan."""
    whole = period.start == month_start(period.start) and period.end == next_month(period.start)
    return StaleDraft(invoice_id, customer_id, plan, period, whole)


class _PostgresDraftBatch:
    """See `services.projector.drafts.DraftBatch`."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        generation: int,
        taken: int,
        drafts: Sequence[StaleDraft],
    ) -> None:
        self._connection = connection
        self._generation = generation
        self._taken = taken
        self._drafts = drafts

    @property
    def taken(self) -> int:
        """See DraftBatch."""
        return self._taken

    @property
    def drafts(self) -> Sequence[StaleDraft]:
        """See DraftBatch."""
        return self._drafts

    async def quantities(self) -> Mapping[UUID, Mapping[UUID, Decimal]]:
        """See DraftBatch."""
        return await read_quantities(self._connection, self._drafts, self._generation)

    async def write(self, priced: Sequence[PricedDraft], priced_at: datetime) -> None:
        """See DraftBatch."""
        await self._connection.execute(
            _WRITE,
            [draft.invoice_id for draft in priced],
            [draft.document.decode() for draft in priced],
            priced_at,
            self._generation,
        )
