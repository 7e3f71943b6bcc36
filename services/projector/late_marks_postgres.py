"""Marks of finalized invoices that the pricing came across: their usage, or their customer's
aliases, may have moved. Append-only, so that pricing waits for no comparison (`late_postgres`).
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg

_MARK = "INSERT INTO late_mark (invoice_id) SELECT unnest($1::uuid[])"


async def mark_late(connection: asyncpg.Connection, invoice_ids: Sequence[UUID]) -> None:
    """Have these invoices compared; mostly there are none."""
    if invoice_ids:
        await connection.execute(_MARK, invoice_ids)
