"""Credit grants and their entries as replies show them, and what they are made of. Decides nothing:
`services.domain.pricing.ledger` says what is left of a grant.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.replies import CreditTypeName, Number
from services.domain.money import CreditType
from services.domain.number import plain
from services.domain.pricing.ledger import (
    GRANTED,
    InvoiceDeduction,
    Ledger,
    LedgerEntry,
    ledger_of,
)
from services.runtime.credit_rows import GRANT_COLUMNS, grant_of, read_deductions
from services.runtime.customer_terms import TERMS_COLUMNS, TermsShelf
from services.runtime.json import decode_json
from services.runtime.plan_rows import Units

# Who takes credits: no token does.
SYSTEM = "Tollgate"

SHOWN_COLUMNS = f"""
    {GRANT_COLUMNS}, g.paid_amount, g.paid_credit_type_id, g.reason, g.credit_grant_type,
    g.uniqueness_key, g.custom_fields, g.created_at, g.created_by
"""
_PRODUCTS = """
SELECT DISTINCT ON (product_id) product_id, product_name FROM charge WHERE product_id = ANY($1)
ORDER BY product_id, plan_id, position
"""
_HELD = f"""
SELECT {TERMS_COLUMNS} FROM customer_plan c
WHERE c.customer_id = ANY($1) AND c.starting_on <= $2
AND (c.ending_before IS NULL OR c.ending_before > $2)
"""  # noqa: S608 (constants)


class Amount(TypedDict):
    """So much of a pricing unit."""

    amount: Number
    credit_type: CreditTypeName


class GrantBalance(TypedDict):
    """What is left of a grant: without and with what drafts take; 0 once it has expired."""

    excluding_pending: Number
    including_pending: Number
    effective_at: datetime


class Entry(TypedDict):
    """Metronome's CreditLedgerEntry. `amount` is the change: below zero where credits are used."""

    amount: Number
    reason: str
    running_balance: Number
    effective_at: datetime
    created_by: str
    credit_grant_id: UUID
    invoice_id: NotRequired[UUID]


class Product(TypedDict):
    """A product that a grant pays for."""

    id: UUID
    name: str


class CreditGrant(TypedDict):
    """Metronome's CreditGrant."""

    id: UUID
    name: str
    customer_id: UUID
    effective_at: datetime
    expires_at: datetime
    priority: Number
    grant_amount: Amount
    paid_amount: Amount
    balance: GrantBalance
    deductions: list[Entry]
    pending_deductions: list[Entry]
    products: NotRequired[list[Product]]
    reason: NotRequired[str]
    credit_grant_type: NotRequired[str]
    uniqueness_key: NotRequired[str]
    custom_fields: dict[str, str]


def shown_grant(
    row: asyncpg.Record,
    ledger: Ledger,
    until: datetime,
    units: Units,
    products: Mapping[UUID, str],
) -> CreditGrant:
    """A row with SHOWN_COLUMNS and its ledger up to `until`. `products`: names by id."""
    grant = CreditGrant(
        id=row["id"],
        name=row["name"],
        customer_id=row["customer_id"],
        effective_at=row["effective_at"],
        expires_at=row["expires_at"],
        priority=plain(row["priority"]),
        grant_amount=Amount(
            amount=plain(row["amount"]), credit_type=unit_name(units[row["credit_type_id"]])
        ),
        paid_amount=Amount(
            amount=plain(row["paid_amount"]),
            credit_type=unit_name(units[row["paid_credit_type_id"]]),
        ),
        balance=GrantBalance(
            excluding_pending=plain(ledger.excluding_pending),
            including_pending=plain(ledger.including_pending),
            effective_at=until,
        ),
        deductions=[
            shown_entry(entry, SYSTEM) for entry in ledger.entries if entry.reason != GRANTED
        ],
        pending_deductions=[shown_entry(entry, SYSTEM) for entry in ledger.pending_entries],
        custom_fields=decode_json(row["custom_fields"]),
    )
    if row["product_ids"]:
        grant["products"] = [Product(id=each, name=products[each]) for each in row["product_ids"]]
    if row["reason"] is not None:
        grant["reason"] = row["reason"]
    if row["credit_grant_type"] is not None:
        grant["credit_grant_type"] = row["credit_grant_type"]
    if row["uniqueness_key"] is not None:
        grant["uniqueness_key"] = row["uniqueness_key"]
    return grant


def shown_entry(entry: LedgerEntry, created_by: str) -> Entry:
    """`created_by`: who granted; of every other entry SYSTEM."""
    found = Entry(
        amount=plain(entry.amount),
        reason=entry.reason,
        running_balance=plain(entry.running_balance),
        effective_at=entry.effective_at,
        created_by=created_by,
        credit_grant_id=entry.grant_id,
    )
    if entry.invoice_id is not None:
        found["invoice_id"] = entry.invoice_id
    return found


def unit_name(unit: CreditType) -> CreditTypeName:
    """As other objects name a pricing unit."""
    return CreditTypeName(id=unit.id, name=unit.name)


async def product_names(
    connection: asyncpg.Connection, product_ids: Iterable[UUID]
) -> dict[UUID, str]:
    """By id; ids that no plan has are absent."""
    wanted = list(set(product_ids))
    if not wanted:
        return {}
    rows = await connection.fetch(_PRODUCTS, wanted)
    return {row["product_id"]: row["product_name"] for row in rows}


async def period_ends(
    connection: asyncpg.Connection, customer_ids: Iterable[UUID], now: datetime
) -> dict[UUID, datetime]:
    """By customer, where the billing period that `now` is in ends; of several plans the latest, so
    that every draft's end is reached. Customers without a plan are absent."""
    rows = await connection.fetch(_HELD, list(set(customer_ids)), now)
    ends: dict[UUID, datetime] = {}
    for terms in await TermsShelf().get(connection, rows):
        billed = terms.schedule.period_at(now)
        if billed is not None:
            known = ends.get(terms.customer_id, now)
            ends[terms.customer_id] = max(known, billed.held.end)
    return ends


async def read_ledgers(
    connection: asyncpg.Connection, rows: Iterable[asyncpg.Record], units: Units, now: datetime
) -> tuple[Mapping[UUID, Ledger], Mapping[UUID, datetime]]:
    """Ledgers by grant, up to where their customers' billing periods end, which is by customer."""
    every = list(rows)
    customers = {row["customer_id"] for row in every}
    deductions: dict[UUID, list[InvoiceDeduction]] = {}
    for taken in (await read_deductions(connection, customers)).values():
        for each in taken:
            deductions.setdefault(each.grant_id, []).append(each)
    ends = await period_ends(connection, customers, now)
    ledgers = {
        row["id"]: ledger_of(
            grant_of(row, units),
            deductions.get(row["id"], ()),
            now,
            ends.get(row["customer_id"], now),
        )
        for row in every
    }
    return ledgers, ends
