"""The ledger of a customer's credits: what each grant gave, what invoices used up, what expired.
Pure; the balances that pricing takes and the entries that the API shows come from here.

Deductions of drafts are pending: they are not in the ledger's balance, and each draft sees those of
the invoices before it (`available_to`), so that no credit is spent twice (METRONOME 3.9).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.domain.number import ZERO, add, subtract
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.grant import CreditGrant

GRANTED = "Credit grant"
DEDUCTED = "Automated invoice deduction"
EXPIRED = "Credit expiration"


@dataclass(frozen=True, slots=True)
class InvoiceDeduction:
    """What an invoice that is not void takes from a grant; above zero."""

    grant_id: UUID
    invoice_id: UUID
    amount: Decimal
    effective_at: datetime  # the end of the invoice's period
    pending: bool  # of a draft


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A change of a grant's balance. `running_balance` counts this entry and those before it."""

    grant_id: UUID
    amount: Decimal
    reason: str
    effective_at: datetime
    running_balance: Decimal
    invoice_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """One grant's entries in order of time, and its balance at `effective_at`."""

    entries: tuple[LedgerEntry, ...]
    pending_entries: tuple[LedgerEntry, ...]
    excluding_pending: Decimal
    including_pending: Decimal
    effective_at: datetime


def ledger_of(
    grant: CreditGrant, deductions: Iterable[InvoiceDeduction], effective_at: datetime
) -> Ledger:
    """The ledger of a grant as of an instant. A grant that expired before it is worth nothing:
    what was left is an entry of its own, after every deduction, because usage before the expiry
    may be invoiced after it."""
    own = sorted((d for d in deductions if d.grant_id == grant.id), key=_order)
    final = [d for d in own if not d.pending]
    entries: list[LedgerEntry] = []
    balance = ZERO
    if grant.effective_at <= effective_at:
        balance = grant.amount
        granted = LedgerEntry(grant.id, grant.amount, GRANTED, grant.effective_at, balance)
        entries.append(granted)
    for deduction in final:
        balance = subtract(balance, deduction.amount)
        entries.append(_entry(deduction, balance))
    expired = grant.expires_at <= effective_at
    pending: list[LedgerEntry] = []
    left = balance
    for deduction in own:
        if deduction.pending:
            left = subtract(left, deduction.amount)
            pending.append(_entry(deduction, left))
    if expired and left > 0:
        pending_expiry = LedgerEntry(
            grant.id, subtract(ZERO, left), EXPIRED, grant.expires_at, ZERO
        )
        # While drafts may still take from it, how much expires is not settled.
        (pending if pending else entries).append(pending_expiry)
    return Ledger(
        tuple(entries),
        tuple(pending),
        ZERO if expired else balance,
        ZERO if expired else left,
        effective_at,
    )


def available_to(
    grants: Iterable[CreditGrant],
    deductions: Iterable[InvoiceDeduction],
    invoice_id: UUID,
    effective_at: datetime,
) -> list[AvailableGrant]:
    """What is left of each grant for an invoice whose period ends at `effective_at`: everything
    final counts, and of the drafts those whose periods end before, or with it and a lower id."""
    taken: dict[UUID, Decimal] = {}
    for deduction in deductions:
        if deduction.invoice_id == invoice_id:
            continue
        if deduction.pending and _order(deduction) > (effective_at, invoice_id):
            continue
        taken[deduction.grant_id] = add(taken.get(deduction.grant_id, ZERO), deduction.amount)
    return [
        AvailableGrant(grant, max(subtract(grant.amount, taken.get(grant.id, ZERO)), ZERO))
        for grant in grants
    ]


def _order(deduction: InvoiceDeduction) -> tuple[datetime, UUID]:
    return deduction.effective_at, deduction.invoice_id


def _entry(deduction: InvoiceDeduction, balance: Decimal) -> LedgerEntry:
    return LedgerEntry(
        deduction.grant_id,
        subtract(ZERO, deduction.amount),
        DEDUCTED,
        deduction.effective_at,
        balance,
        deduction.invoice_id,
    )
