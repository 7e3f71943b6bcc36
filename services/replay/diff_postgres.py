"""A generation compared with the live one in PostgreSQL, invoice by invoice, in one snapshot in
which both stand at the same positions. Changes no invoice.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.domain.period import month_start
from services.replay.compare import Document, InvoiceDifference, change, differing_lines
from services.replay.credits_postgres import with_credits
from services.replay.drafts_postgres import documents
from services.replay.targets_postgres import read_targets
from services.runtime.customer_terms import TermsShelf
from services.runtime.json import decode_json

_FATES = """
SELECT coalesce(sum(counted), 0)::bigint AS counted,
    coalesce(sum(duplicates), 0)::bigint AS duplicates,
    coalesce(sum(conflicts), 0)::bigint AS conflicts,
    coalesce(sum(rejected), 0)::bigint AS rejected,
    coalesce(sum(unmatched), 0)::bigint AS unmatched
FROM projection_position WHERE generation = $1
"""
# Since which month a customer's live drafts are about to be priced: what is stored of them is old.
_PENDING = """
SELECT coalesce(m.customer_id, r.customer_id) AS customer_id, min(m.month) AS month
FROM stale_mark m LEFT JOIN customer_reference r ON r.reference = m.reference
WHERE m.customer_id IS NOT NULL OR r.customer_id IS NOT NULL
GROUP BY 1
"""
_PAIRS = """
SELECT coalesce(i.customer_plan_id, d.customer_plan_id) AS customer_plan_id,
    coalesce(i.customer_id, d.customer_id) AS customer_id, u.name AS customer, i.id, i.status,
    coalesce(i.starts_at, d.starts_at) AS starts_at, coalesce(i.ends_at, d.ends_at) AS ends_at,
    t.name AS unit, i.document AS live, d.document AS replayed
FROM (SELECT * FROM invoice WHERE status <> 'VOID') i
FULL JOIN (SELECT * FROM generation_draft WHERE generation = $1) d
    ON d.customer_plan_id = i.customer_plan_id AND d.starts_at = i.starts_at
JOIN customer u ON u.id = coalesce(i.customer_id, d.customer_id)
JOIN customer_plan c ON c.id = coalesce(i.customer_plan_id, d.customer_plan_id)
JOIN plan p ON p.id = c.plan_id JOIN credit_type t ON t.id = p.credit_type_id
WHERE (i.document IS DISTINCT FROM d.document OR i.customer_plan_id = ANY($2))
  -- A period whose invoice is void has none until that one is regenerated.
  AND (i.id IS NOT NULL OR NOT EXISTS (SELECT FROM invoice v
      WHERE v.customer_id = d.customer_id AND v.customer_plan_id = d.customer_plan_id
        AND v.starts_at = d.starts_at))
ORDER BY customer_id, starts_at, customer_plan_id
"""

_Place = tuple[UUID, datetime]  # customer plan, start of the period


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of the events of a generation."""

    counted: int
    duplicates: int
    conflicts: int
    rejected: int
    unmatched: int


async def read_fates(connection: asyncpg.Connection, generation: int) -> Fates:
    """Sums over all partitions."""
    return Fates(*await connection.fetchrow(_FATES, generation))


async def differences(
    connection: asyncpg.Connection, live: int, generation: int
) -> AsyncIterator[InvoiceDifference]:
    """Every invoice that differs, by customer and period; `price_generation` was called in the
    same REPEATABLE READ transaction."""
    marks = {
        row["customer_id"]: month_start(row["month"]) for row in await connection.fetch(_PENDING)
    }
    fresh = await _fresh_documents(connection, live, marks)
    plans = [customer_plan_id for customer_plan_id, _ in fresh]
    async for row in connection.cursor(_PAIRS, generation, plans):
        pending = _is_marked(marks, row["customer_id"], row["ends_at"])
        if pending and row["status"] != "FINALIZED":
            # None: such a draft is about to go, for a plan that was ended or a customer archived.
            before = fresh.get((row["customer_plan_id"], row["starts_at"]))
        else:
            before = _document(row["live"])
        after = _document(row["replayed"])
        if before != after:
            yield _difference(row, before or {}, after or {})


async def _fresh_documents(
    connection: asyncpg.Connection, live: int, marks: Mapping[UUID, datetime]
) -> dict[_Place, Document]:
    """Live drafts whose pricing is still to come, priced here."""
    if not marks:
        return {}
    targets = [
        target
        for target in await read_targets(connection, TermsShelf(), live)
        if _is_marked(marks, target.draft.customer_id, target.draft.period.end)
    ]
    targets, book = await with_credits(connection, targets)
    priced = await documents(connection, live, targets, book)
    return {
        (target.customer_plan_id, target.draft.period.start): decode_json(document)
        for target, document in zip(targets, priced, strict=True)
    }


def _is_marked(marks: Mapping[UUID, datetime], customer_id: UUID, ends_at: datetime) -> bool:
    """Whether something changed in or before a period: tiers and LATEST carry on."""
    since = marks.get(customer_id)
    return since is not None and since < ends_at


def _document(stored: str | None) -> Any:
    """None where there is no such invoice; `{}` before it was priced for the first time."""
    return None if stored is None else decode_json(stored)


def _difference(row: asyncpg.Record, live: Document, replayed: Document) -> InvoiceDifference:
    return InvoiceDifference(
        customer_id=row["customer_id"],
        customer=row["customer"],
        invoice_id=row["id"],
        status=row["status"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        unit=row["unit"],
        total=change("total", live, replayed),
        subtotal=change("subtotal", live, replayed),
        lines=differing_lines(live, replayed),
    )
