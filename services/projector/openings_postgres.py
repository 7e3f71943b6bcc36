"""Drafts that have to be there and those that have to go, in PostgreSQL: of the periods that marks
touch. Locks what is there; prices nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID, uuid4

import asyncpg

from services.domain.period import Period
from services.domain.pricing.whole import invoice_unit
from services.domain.schedule import BilledPeriod
from services.projector.late_marks_postgres import mark_late
from services.projector.marks_postgres import Mark
from services.runtime.customer_terms import CustomerTerms

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


class Opening(NamedTuple):
    """A period of a customer's plan that must have its draft."""

    terms: CustomerTerms
    billed: BilledPeriod


Place = tuple[UUID, datetime]  # customer plan, start of the period


async def close_drafts(
    connection: asyncpg.Connection, marks: Sequence[Mark], plans: Sequence[asyncpg.Record]
) -> None:
    """Most batches have none of either: archiving and ending a plan mark customers."""
    marked = [mark.customer_id for mark in marks if mark.customer_id is not None]
    if marked:
        await connection.execute(_VOID_ARCHIVED, marked)
    ended = {row["customer_id"] for row in plans if row["ending_before"] is not None}
    if ended:
        await connection.execute(_CLOSE, list(ended))


async def open_drafts(
    connection: asyncpg.Connection, periods: Mapping[Place, Opening]
) -> tuple[dict[Place, tuple[UUID, Period]], list[Place]]:
    """Lock the drafts of these periods, and make those that are missing or end elsewhere; also
    returns the places of the latter.

    Two pricers never deadlock: both lock what is there in order of id, and only then make, in
    order of place, what is not there.
    """
    if not periods:
        return {}, []
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
    return drafts, [(row[2], row[5]) for row in opened]


def _draft(row: asyncpg.Record) -> tuple[Place, tuple[UUID, Period]]:
    period = Period(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC))
    return (row["customer_plan_id"], period.start), (row["id"], period)
