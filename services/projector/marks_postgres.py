"""Marks of stale drafts in PostgreSQL: made by a flush in its transaction, taken by the pricing.

Append-only, so that marking never waits for pricing; and many references a row, because a row of
its own for each costs more than its usage. Never decides whose a reference is: an alias or a plan
committed at the same moment could leave a draft stale for ever.
"""

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.domain.aggregate import hour_start
from services.domain.period import month_start
from services.projector.projection import Flush

# References a row: with usual ones it stays below 2 kB, from where PostgreSQL would move it out.
REFERENCES_MAX = 48
# Customers whose drafts one transaction prices: enough to spread its cost, few enough to hold
# locks for moments only. One row more may pass it.
CUSTOMERS_MAX = 2_000

_MARK = """
INSERT INTO stale_draft (posted, month)
SELECT array_agg(p.reference), $2::date
FROM unnest($1::text[]) WITH ORDINALITY AS p(reference, place) GROUP BY (p.place - 1) / $3
"""
# The oldest first. What others hold is theirs; whatever is locked and not deleted stays.
_TAKE = """
DELETE FROM stale_draft WHERE id = ANY (ARRAY (
    SELECT o.id FROM (
        SELECT l.id, sum(coalesce(cardinality(l.posted), 1)) OVER (ORDER BY l.id)
            - coalesce(cardinality(l.posted), 1) AS before
        FROM (SELECT id, posted FROM stale_draft ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED) AS l
    ) AS o WHERE o.before < $2
))
RETURNING customer_id, posted, month
"""


class Mark(NamedTuple):
    """A customer, or a reference as posted, and the first day of a month."""

    customer_id: UUID | None
    reference: str | None
    month: date


async def mark_stale(connection: asyncpg.Connection, flush: Flush) -> None:
    """Mark every reference with usage in a flush, for each month of it."""
    references: dict[date, dict[str, None]] = {}
    for key in flush.aggregates:
        references.setdefault(_month_of(key.hour), {})[key.reference] = None
    for month, of_month in sorted(references.items()):
        await connection.execute(_MARK, list(of_month), month, REFERENCES_MAX)


async def take_marks(
    connection: asyncpg.Connection, rows_max: int
) -> tuple[int, Sequence[Mark]]:
    """Take the oldest rows; returns how many, and each of their marks once."""
    rows = await connection.fetch(_TAKE, rows_max, CUSTOMERS_MAX)
    marks: dict[Mark, None] = {}
    for customer_id, posted, month in rows:
        if posted is None:
            marks[Mark(customer_id, None, month)] = None
        else:
            marks.update(dict.fromkeys(Mark(None, reference, month) for reference in posted))
    return len(rows), list(marks)


@lru_cache(maxsize=100_000)
def _month_of(hour: int) -> date:
    return month_start(hour_start(hour)).date()
