"""The ledgers of customers' credits. Reads only: what invoices take stands in the invoices."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import asyncpg
from fastapi import APIRouter
from starlette.responses import Response
from typing_extensions import TypedDict

from services.api.context import Parts
from services.api.credit_bodies import ListEntries
from services.api.credit_rows import (
    SHOWN_COLUMNS,
    SYSTEM,
    Entry,
    GrantBalance,
    read_ledgers,
    shown_entry,
    unit_name,
)
from services.api.errors import fault, not_found, refused
from services.api.fields import any_case
from services.api.paging import NextPage, after, split_page
from services.api.replies import CreditTypeName, Page, page
from services.api.request import ExactRoute
from services.api.stale import wait_for_refresh
from services.domain.number import plain
from services.domain.pricing.ledger import GRANTED, Ledger
from services.domain.pricing.statement import Balance, Statement, statement_of
from services.runtime.credit_rows import STANDING
from services.runtime.plan_rows import read_units

router = APIRouter(tags=["Credit grants"], route_class=ExactRoute)

# Customers a page of ledgers, each with all its entries.
LEDGERS_MAX = 100

_CUSTOMERS = f"""
SELECT c.id, c.ordinal FROM customer c WHERE c.ordinal > $1
AND ($2::uuid[] IS NULL OR c.id = ANY($2))
AND EXISTS (SELECT FROM credit_grant g WHERE g.customer_id = c.id AND {STANDING}
    AND ($3::uuid[] IS NULL OR g.credit_type_id = ANY($3)))
ORDER BY c.ordinal LIMIT $4
"""  # noqa: S608 (a constant)
_OF_CUSTOMERS = f"""
SELECT {SHOWN_COLUMNS} FROM credit_grant g WHERE g.customer_id = ANY($1) AND {STANDING}
AND ($2::uuid[] IS NULL OR g.credit_type_id = ANY($2))
"""  # noqa: S608 (a constant)


class Sort(StrEnum):
    """Of the entries of a ledger, by time."""

    ASC = "asc"
    DESC = "desc"


class CreditTypeLedger(TypedDict):
    """All grants of one customer in one pricing unit: starting balance + entries = ending."""

    credit_type: CreditTypeName
    starting_balance: GrantBalance
    ending_balance: GrantBalance
    entries: list[Entry]
    pending_entries: list[Entry]


class CustomerLedgers(TypedDict):
    """Metronome's CustomerCreditTypeLedger."""

    customer_id: UUID
    ledgers: list[CreditTypeLedger]


@router.post("/v1/credits/listEntries", responses={200: {"model": Page[CustomerLedgers]}})
async def list_entries(
    parts: Parts,
    *,
    body: ListEntries,
    next_page: NextPage = None,
    sort: Annotated[Sort, any_case(Sort)] = Sort.ASC,
) -> Response:
    """List what changed the credits of each customer that has some, by pricing unit; void grants
    left out."""
    now, place = parts.now(), after(next_page)
    if body.ending_before is not None and body.ending_before > now:
        raise refused(fault("ending_before", f"must not be in the future; it is {now.isoformat()}"))
    await wait_for_refresh(parts, *body.customer_ids or ())
    async with parts.reading() as connection:
        await _check_customers(connection, body.customer_ids or ())
        customers, cursor = split_page(
            await connection.fetch(
                _CUSTOMERS, place, body.customer_ids, body.credit_type_ids, LEDGERS_MAX + 1
            ),
            LEDGERS_MAX,
            lambda row: (row["ordinal"],),
        )
        ids = [row["id"] for row in customers]
        rows = await connection.fetch(_OF_CUSTOMERS, ids, body.credit_type_ids)
        units = await read_units(connection)
        ledgers, ends = await read_ledgers(connection, rows, units, now)
    granted_by = {row["id"]: row["created_by"] for row in rows}
    by_unit = _by_unit(rows, ledgers)

    def shown(customer_id: UUID, unit_id: UUID) -> CreditTypeLedger:
        until = ends.get(customer_id, now)
        own = by_unit[customer_id][unit_id]
        statement = statement_of(own, body.starting_on, body.ending_before, until)
        return _shown(unit_name(units[unit_id]), statement, granted_by, sort)

    items = [
        CustomerLedgers(
            customer_id=customer_id,
            ledgers=[
                shown(customer_id, unit_id)
                for unit_id in sorted(by_unit[customer_id], key=lambda each: units[each].name)
            ],
        )
        for customer_id in ids
    ]
    return page(items, cursor)


async def _check_customers(connection: asyncpg.Connection, asked: Iterable[UUID]) -> None:
    wanted = list(asked)
    rows = await connection.fetch("SELECT id FROM customer WHERE id = ANY($1)", wanted)
    known = {row["id"] for row in rows}
    for customer_id in wanted:
        if customer_id not in known:
            raise not_found("customer", customer_id)


def _by_unit(
    rows: Iterable[asyncpg.Record], ledgers: Mapping[UUID, Ledger]
) -> dict[UUID, dict[UUID, list[Ledger]]]:
    """By customer and pricing unit."""
    found: dict[UUID, dict[UUID, list[Ledger]]] = {}
    for row in rows:
        of_customer = found.setdefault(row["customer_id"], {})
        of_customer.setdefault(row["credit_type_id"], []).append(ledgers[row["id"]])
    return found


def _shown(
    unit: CreditTypeName, statement: Statement, granted_by: Mapping[UUID, str], sort: Sort
) -> CreditTypeLedger:
    step = -1 if sort is Sort.DESC else 1
    entries, pending = (
        [
            shown_entry(entry, granted_by[entry.grant_id] if entry.reason == GRANTED else SYSTEM)
            for entry in every[::step]
        ]
        for every in (statement.entries, statement.pending_entries)
    )
    return CreditTypeLedger(
        credit_type=unit,
        starting_balance=_balance(statement.starting),
        ending_balance=_balance(statement.ending),
        entries=entries,
        pending_entries=pending,
    )


def _balance(balance: Balance) -> GrantBalance:
    return GrantBalance(
        excluding_pending=plain(balance.excluding_pending),
        including_pending=plain(balance.including_pending),
        effective_at=balance.effective_at,
    )
