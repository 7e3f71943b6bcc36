"""What a customer's credits of one pricing unit come to over a stretch of time: the entries of all
grants as one ledger. Pure; the API's listEntries is made of it.

Starting balance, plus the entries, is the ending balance; and where one statement ends the next
starts, so that no entry is in two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from services.domain.number import add
from services.domain.pricing.charge import sum_of
from services.domain.pricing.ledger import (
    DEDUCTED,
    Ledger,
    LedgerEntry,
    with_balances,
)


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left at an instant, without and with what drafts take and what will expire."""

    excluding_pending: Decimal
    including_pending: Decimal
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Statement:
    """Of one pricing unit; entries in order of time."""

    starting: Balance
    ending: Balance
    entries: tuple[LedgerEntry, ...]
    pending_entries: tuple[LedgerEntry, ...]


def statement_of(
    ledgers: Iterable[Ledger],
    starting_on: datetime | None,
    ending_before: datetime | None,
    until: datetime,
) -> Statement:
    """The statement of [starting_on, ending_before). Without a start it begins with the first
    entry; without an end it goes up to `until`, the end of a billing period, and what the invoices
    of that period take is in it, although it is dated `until`."""
    every = list(ledgers)
    entries, pending = with_balances(
        (entry for ledger in every for entry in ledger.entries),
        (entry for ledger in every for entry in ledger.pending_entries),
    )
    end = until if ending_before is None else ending_before

    def happened(entry: LedgerEntry) -> bool:
        closing = ending_before is None and entry.reason == DEDUCTED
        return entry.effective_at < end or (closing and entry.effective_at == end)

    entries, pending = tuple(filter(happened, entries)), tuple(filter(happened, pending))
    start = starting_on
    if start is None:
        start = min((entry.effective_at for entry in (*entries, *pending)), default=end)
    return Statement(
        _balance(_before(entries, start), _before(pending, start), start),
        _balance(entries, pending, end),
        tuple(entry for entry in entries if entry.effective_at >= start),
        tuple(entry for entry in pending if entry.effective_at >= start),
    )


def _before(entries: Iterable[LedgerEntry], start: datetime) -> list[LedgerEntry]:
    return [entry for entry in entries if entry.effective_at < start]


def _balance(
    entries: Iterable[LedgerEntry], pending: Iterable[LedgerEntry], effective_at: datetime
) -> Balance:
    posted = sum_of(entry.amount for entry in entries)
    return Balance(posted, add(posted, sum_of(entry.amount for entry in pending)), effective_at)
