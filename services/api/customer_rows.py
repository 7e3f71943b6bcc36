"""Customers in the database and as replies show them. Holds no rule of a request."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.errors import conflict, not_found
from services.runtime.json import decode_json


class Customer(TypedDict):
    """Metronome's Customer."""

    id: UUID
    external_id: str
    ingest_aliases: list[str]
    name: str
    custom_fields: dict[str, str]


class CustomerConfig(TypedDict):
    """Settings of other systems; Tollgate keeps none yet."""

    salesforce_account_id: str | None


class CustomerDetail(Customer):
    """Metronome's CustomerDetail."""

    customer_config: CustomerConfig
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


# Aliases in the order in which they were given; the customer's own id is no alias.
DETAIL_COLUMNS = """
    c.id, c.ordinal, c.name, c.custom_fields, c.created_at, c.updated_at, c.archived_at,
    ARRAY(
        SELECT r.reference FROM customer_reference r
        WHERE r.customer_id = c.id AND r.alias_position IS NOT NULL ORDER BY r.alias_position
    ) AS aliases
"""


def customer_of(row: asyncpg.Record) -> Customer:
    """A row with DETAIL_COLUMNS as a Customer."""
    aliases = list(row["aliases"])
    return Customer(
        id=row["id"],
        # Deprecated by Metronome: "the first ID that can be used in usage events".
        external_id=aliases[0] if aliases else str(row["id"]),
        ingest_aliases=aliases,
        name=row["name"],
        custom_fields=decode_json(row["custom_fields"]),
    )


def detail_of(row: asyncpg.Record) -> CustomerDetail:
    """A row with DETAIL_COLUMNS as a CustomerDetail."""
    return CustomerDetail(
        **customer_of(row),
        customer_config=CustomerConfig(salesforce_account_id=None),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        archived_at=row["archived_at"],
    )


async def fetch_customer(connection: asyncpg.Connection, customer_id: UUID) -> asyncpg.Record:
    """The customer's row with DETAIL_COLUMNS, or 404."""
    row = await connection.fetchrow(
        f"SELECT {DETAIL_COLUMNS} FROM customer c WHERE c.id = $1",  # noqa: S608 (a constant)
        customer_id,
    )
    if row is None:
        raise not_found("customer", customer_id)
    return row


async def fetch_active_customer(
    connection: asyncpg.Connection, customer_id: UUID
) -> asyncpg.Record:
    """As `fetch_customer`; 409 when it is archived, which nothing undoes."""
    row = await fetch_customer(connection, customer_id)
    if row["archived_at"] is not None:
        raise conflict(f"customer {customer_id} is archived and takes no more changes")
    return row


async def put_aliases(
    connection: asyncpg.Connection, customer_id: UUID, aliases: Sequence[str]
) -> None:
    """Make `aliases` the customer's whole set, in this order; 409 when another has one of them."""
    wanted = [alias for alias in dict.fromkeys(aliases) if alias != str(customer_id)]
    taken = await connection.fetchrow(
        "SELECT reference, customer_id FROM customer_reference"
        " WHERE reference = ANY($1) AND customer_id <> $2 ORDER BY reference LIMIT 1",
        wanted,
        customer_id,
    )
    if taken is not None:
        raise conflict(
            f"A customer with this ID already exists: {taken['reference']!r} stands for customer "
            f"{taken['customer_id']}. Take it from that customer's ingest aliases first."
        )
    await connection.execute(
        "DELETE FROM customer_reference WHERE customer_id = $1 AND alias_position IS NOT NULL",
        customer_id,
    )
    await connection.execute(
        "INSERT INTO customer_reference (reference, customer_id, alias_position)"
        " SELECT alias, $1, position - 1 FROM unnest($2::text[]) WITH ORDINALITY"
        " AS wanted (alias, position)",
        customer_id,
        wanted,
    )
