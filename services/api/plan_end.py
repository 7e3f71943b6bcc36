"""What another end of a customer's plan does to its finalized invoices (METRONOME 3.3). Drafts are
none of its business: pricing cuts them anew and takes away those of periods that no longer begin.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from services.api.errors import fault, refused
from services.domain.invoice_life import InvoiceState, InvoiceStatus, Refused, end_plan
from services.domain.period import Period
from services.domain.schedule import Schedule
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf

_PLAN = f"SELECT {TERMS_COLUMNS} FROM customer_plan c WHERE c.id = $1 FOR NO KEY UPDATE"  # noqa: S608 (constants)

_FINALIZED = """
SELECT id, starts_at, ends_at FROM invoice
WHERE customer_plan_id = $1 AND status = 'FINALIZED' ORDER BY id FOR UPDATE
"""


async def void_changed(
    connection: asyncpg.Connection,
    customer_plan_id: UUID,
    end: datetime | None,
    *,
    void_invoices: bool,
) -> Sequence[UUID]:
    """Void the finalized invoices that would have another period with this end of their plan; 400
    when there are any and they are not to be voided. Returns those that were voided."""
    # Whoever finalizes shares this row, so that nothing becomes final meanwhile.
    rows = await connection.fetch(_PLAN, customer_plan_id)
    [terms] = await TermsShelf().get(connection, rows)
    finalized = [
        InvoiceState(
            row["id"],
            InvoiceStatus.FINALIZED,
            Period(row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC)),
        )
        for row in await connection.fetch(_FINALIZED, customer_plan_id)
    ]
    voided = [*_beyond(finalized, end, void_invoices), *_longer(finalized, terms.schedule, end)]
    if voided and not void_invoices:
        raise _refusal(
            f"makes the finalized invoice {voided[0]} longer; void_invoices voids it, and then it"
            " can be regenerated"
        )
    await connection.execute("UPDATE invoice SET status = 'VOID' WHERE id = ANY($1)", voided)
    return voided


def _beyond(
    finalized: Sequence[InvoiceState], end: datetime | None, void_invoices: bool
) -> Sequence[UUID]:
    """Those that reach beyond the end."""
    if end is None:
        return ()
    decided = end_plan(finalized, end, void_invoices)
    if isinstance(decided, Refused):
        raise _refusal(f"is too early: {decided.reason}")
    return decided.void


def _longer(
    finalized: Sequence[InvoiceState], schedule: Schedule, end: datetime | None
) -> Sequence[UUID]:
    """Those that the former end has cut short, where the plan now goes on: what comes after it in
    their period could not be billed."""
    former = schedule.ends
    if former is None or (end is not None and end <= former):
        return ()
    longer = replace(schedule, ends=end)
    return [
        each.id
        for each in finalized
        if each.period.end == former
        and (billed := longer.period_at(each.period.start)) is not None
        and billed.held != each.period
    ]


def _refusal(reason: str) -> Exception:
    return refused(fault("ending_before", reason))
