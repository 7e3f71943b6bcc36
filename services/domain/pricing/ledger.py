"""The ledger of a customer's credits: what each grant gave, what invoices used up, what expired.
Pure; the balances that pricing takes and the entries that the API shows come from here.

Deductions of drafts are pending: they are not in the ledger's balance, and each draft sees those of
the invoices before it (`available_to`), so that no credit is spent twice (METRONOME 3.9).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.domain.number import ZERO, add, subtract
from services.domain.pricing.charge import sum_of
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.grant import CreditGrant

GRANTED = "Credit grant"
DEDUCTED = "Automated invoice deduction"
EXPIRED = "Credit expiration"
_AT_ONCE = {DEDUCTED: 0, EXPIRED: 1, GRANTED: 2}


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
    """A change of a balance. `running_balance` counts this entry and those before it in time; of a
    pending entry, pending ones too."""

    grant_id: UUID
    amount: Decimal
    reason: str
    effective_at: datetime
    running_balance: Decimal = ZERO
    invoice_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Ledger:
    """One grant's entries in order of time, and its balance."""

    entries: tuple[LedgerEntry, ...]
    pending_entries: tuple[LedgerEntry, ...]
    excluding_pending: Decimal
    including_pending: Decimal


def ledger_of(
    grant: CreditGrant, deductions: Iterable[InvoiceDeduction], now: datetime, until: datetime
) -> Ledger:
    """The ledger of a grant up to an instant that is `now` or later: the end of the customer's
    billing period, so that what its draft takes is there.

    A grant that has expired is worth nothing. Its expiry takes what all deductions leave, because
    usage before it may be invoiced after it. It is pending until its time has come and no draft
    takes from the grant any more, and it is not foreseen when it comes with `until` or later: at
    the end of a period there is still what the next one does not get.
    """
    own = [each for each in deductions if each.grant_id == grant.id]
    entries = [_entry(each) for each in own if not each.pending]
    pending = [_entry(each) for each in own if each.pending]
    if grant.effective_at <= until:
        entries.append(LedgerEntry(grant.id, grant.amount, GRANTED, grant.effective_at))
    balance = sum_of(each.amount for each in entries)
    left = add(balance, sum_of(each.amount for each in pending))
    expired = grant.expires_at <= now
    expires = expired or grant.expires_at < until
    if expires and left > 0:
        expiry = LedgerEntry(grant.id, subtract(ZERO, left), EXPIRED, grant.expires_at)
        (entries if expired and not pending else pending).append(expiry)
    return Ledger(
        *with_balances(entries, pending), ZERO if expired else balance, ZERO if expires else left
    )


def with_balances(
    entries: Iterable[LedgerEntry], pending: Iterable[LedgerEntry]
) -> tuple[tuple[LedgerEntry, ...], tuple[LedgerEntry, ...]]:
    """Both in order of time, each with the balance after it."""
    posted = sorted(entries, key=in_time)
    open_entries = sorted(pending, key=in_time)
    every = _running(sorted((*posted, *open_entries), key=in_time))
    keys = set(map(in_time, open_entries))
    return tuple(_running(posted)), tuple(each for each in every if in_time(each) in keys)


def in_time(entry: LedgerEntry) -> tuple[datetime, int, UUID, UUID]:
    """Sorts entries by time; at one instant what ends comes before what begins."""
    return (
        entry.effective_at,
        _AT_ONCE[entry.reason],
        entry.grant_id,
        entry.invoice_id or UUID(int=0),
    )


def _running(entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    balance, found = ZERO, []
    for entry in entries:
        balance = add(balance, entry.amount)
        found.append(replace(entry, running_balance=balance))
    return found


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


def _entry(deduction: InvoiceDeduction) -> LedgerEntry:
    return LedgerEntry(
        deduction.grant_id,
        subtract(ZERO, deduction.amount),
        DEDUCTED,
        deduction.effective_at,
        invoice_id=deduction.invoice_id,
    )
