"""Drafts in PostgreSQL: the work list is taken with SKIP LOCKED, invoices are locked in id order.

The totals are read by statements that start after the marks were taken and the invoices locked
(READ COMMITTED), so nothing that was marked can be missing from what is priced.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg

from services.domain.period import Period, month_start, oldest_draft_month
from services.domain.pricing.usage import PeriodUsage
from services.domain.pricing.whole import invoice_unit
from services.domain.schedule import BilledPeriod
from services.projector.drafts import (
    DraftBatch,
    PricedDraft,
    StaleDraft,
    draft_of,
    marked_periods,
)
from services.projector.late_marks_postgres import mark_late
from services.projector.live_postgres import share_live
from services.projector.marks_postgres import Mark, take_marks
from services.projector.quantities_postgres import read_quantities
from services.projector.turns_postgres import have_pricing_turn
from services.runtime.customer_terms import TERMS_COLUMNS, CustomerTerms, TermsShelf

# Whose the marks are, and the plans of those. LATERAL and OFFSET 0 fix the order of the joins, each
# level one probe of an index, whatever the statistics say (tests/contract/test_plans.py).
_PLANS_OF = f"""
SELECT {TERMS_COLUMNS}, t.month
FROM (
    SELECT DISTINCT coalesce(m.customer_id, r.customer_id) AS customer_id, m.month
    FROM unnest($1::uuid[], $2::text[], $3::date[]) AS m(customer_id, reference, month)
    LEFT JOIN LATERAL (
        SELECT r.customer_id FROM customer_reference r WHERE r.reference = m.reference OFFSET 0
    ) AS r ON true
) AS t
CROSS JOIN LATERAL (
    SELECT {TERMS_COLUMNS} FROM customer_plan c
    WHERE c.customer_id = t.customer_id OFFSET 0
) AS c
CROSS JOIN LATERAL (
    SELECT FROM customer u WHERE u.id = t.customer_id AND u.archived_at IS NULL OFFSET 0
) AS u
"""  # noqa: S608 (constants)

_LIVE = """
SELECT i.id, k.customer_plan_id, k.starts_at
FROM unnest($1::uuid[], $2::timestamptz[]) AS k(customer_plan_id, starts_at)
CROSS JOIN LATERAL (
    SELECT i.id FROM invoice i WHERE i.customer_plan_id = k.customer_plan_id
        AND i.starts_at = k.starts_at AND i.status <> 'VOID' OFFSET 0
) AS i
"""

# Locks in the order of the ids given.
_LOCK = """
SELECT i.id, i.customer_plan_id, i.starts_at, i.ends_at
FROM unnest($1::uuid[]) AS k(id)
CROSS JOIN LATERAL (
    SELECT i.id, i.customer_plan_id, i.starts_at, i.ends_at FROM invoice i
    WHERE i.id = k.id AND i.status = 'DRAFT' OFFSET 0 FOR UPDATE
) AS i
"""

_OPEN = """
INSERT INTO invoice (id, customer_id, customer_plan_id, plan_id, credit_type_id, status, starts_at,
    ends_at, document, catalog_version, as_of, priced_at)
SELECT i.id, i.customer_id, i.customer_plan_id, i.plan_id, i.credit_type_id, 'DRAFT', i.starts_at,
    i.ends_at, '{}', 0, 'epoch', 'epoch'
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[],
            $7::timestamptz[])
  AS i(id, customer_id, customer_plan_id, plan_id, credit_type_id, starts_at, ends_at)
-- A period whose invoice was voided has another one only when it is regenerated.
WHERE NOT EXISTS (SELECT FROM invoice v WHERE v.customer_id = i.customer_id
        AND v.customer_plan_id = i.customer_plan_id AND v.starts_at = i.starts_at
        AND v.status = 'VOID')
    OR EXISTS (SELECT FROM invoice v WHERE v.customer_plan_id = i.customer_plan_id
        AND v.starts_at = i.starts_at AND v.status = 'DRAFT')
ORDER BY i.customer_plan_id, i.starts_at
ON CONFLICT (customer_plan_id, starts_at) WHERE status <> 'VOID'
DO UPDATE SET ends_at = excluded.ends_at, credit_type_id = excluded.credit_type_id
    WHERE invoice.status = 'DRAFT'
RETURNING id, customer_plan_id, starts_at, ends_at
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
            drafts = await self._lock(connection, marks, now) if marks else []
            yield _PostgresDraftBatch(connection, live, len(marks), drafts)

    async def open_periods(self, now: datetime) -> int:
        """See Drafts."""
        oldest = oldest_draft_month(now)
        marked = await self._pool.execute(_UNOPENED, oldest, now)
        return int(marked.rpartition(" ")[2])

    async def _lock(
        self, connection: asyncpg.Connection, marks: Sequence[Mark], now: datetime
    ) -> list[StaleDraft]:
        rows = await connection.fetch(
            _PLANS_OF, *(list(column) for column in zip(*marks, strict=True))
        )
        await _close(connection, marks, rows)
        every = await self._terms.get(connection, rows)
        periods = {
            (held.id, billed.held.start): _Opening(held, billed)
            for row, held in zip(rows, every, strict=True)
            for billed in marked_periods(held, month_start(row["month"]), now)
        }
        return [
            draft_of(invoice_id, opening.terms, opening.billed)
            for place, (invoice_id, _) in (await _open(connection, periods)).items()
            if (opening := periods.get(place)) is not None
        ]


class _Opening(NamedTuple):
    """A period of a customer's plan that must have its draft."""

    terms: CustomerTerms
    billed: BilledPeriod


_Place = tuple[UUID, datetime]  # customer plan, start of the period


async def _close(
    connection: asyncpg.Connection, marks: Sequence[Mark], plans: Sequence[asyncpg.Record]
) -> None:
    """Most batches have none of either: archiving and ending a plan mark customers."""
    marked = [mark.customer_id for mark in marks if mark.customer_id is not None]
    if marked:
        await connection.execute(_VOID_ARCHIVED, marked)
    ended = {row["customer_id"] for row in plans if row["ending_before"] is not None}
    if ended:
        await connection.execute(_CLOSE, list(ended))


async def _open(
    connection: asyncpg.Connection, periods: Mapping[_Place, _Opening]
) -> dict[_Place, tuple[UUID, Period]]:
    """Lock the drafts of these periods, and make those that are missing or end elsewhere.

    Two pricers never deadlock: both lock what is there in order of id, and only then make, in
    order of place, what is not there.
    """
    if not periods:
        return {}
    rows = await connection.fetch(_LIVE, *(list(column) for column in zip(*periods, strict=True)))
    live = {(row["customer_plan_id"], row["starts_at"]): row["id"] for row in rows}
    rows = await connection.fetch(_LOCK, sorted(live.values()))
    drafts = dict(_draft(row) for row in rows)
    # What is live and no draft is final, and stays as it is.
    await mark_late(connection, [live[place] for place in live if place not in drafts])
    opened = [
        (
            uuid4(),
            opening.terms.customer_id,
            place[0],
            opening.terms.plan.id,
            invoice_unit(opening.terms.terms.of(opening.billed)).id,
            opening.billed.held.start,
            opening.billed.held.end,
        )
        for place, opening in periods.items()
        if place not in live or (place in drafts and drafts[place][1] != opening.billed.held)
    ]
    if opened:
        rows = await connection.fetch(
            _OPEN, *(list(column) for column in zip(*opened, strict=True))
        )
        drafts.update(_draft(row) for row in rows)
    return drafts


def _draft(row: asyncpg.Record) -> tuple[_Place, tuple[UUID, Period]]:
    period = Period(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC))
    return (row["customer_plan_id"], period.start), (row["id"], period)


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

    async def quantities(self) -> Mapping[UUID, PeriodUsage]:
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
