"""Marks of stale drafts in PostgreSQL: made by a flush in its transaction, taken by the pricing.

Append-only, so that marking never waits for pricing; and many references a row, because a row of
its own for each costs more than its usage. Never decides whose a reference is: an alias or a plan
committed at the same moment could leave a draft stale for ever.

With more stale drafts than one transaction prices, the marks are taken together all the same and
what is left over is put back, each once: a customer that is marked by every flush is priced once a
round, however far behind the pricing is. What is put back keeps an id at most as high as it had:
`services/api/stale.py` waits for a customer's marks up to an id.
"""

from collections.abc import Iterator, Sequence
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
# Rows that are taken together: every mark of 190,000 customers.
ROWS_MAX = 4_000

_MARK = """
INSERT INTO stale_draft (posted, month)
SELECT array_agg(p.reference), $2::date
FROM unnest($1::text[]) WITH ORDINALITY AS p(reference, place) GROUP BY (p.place - 1) / $3
"""
_TAKE = """
DELETE FROM stale_draft WHERE id = ANY (ARRAY (
    SELECT id FROM stale_draft ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED
))
RETURNING id, customer_id, posted, month
"""
_PUT_BACK = """
INSERT INTO stale_draft (id, customer_id, month, posted) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4)
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


async def take_marks(connection: asyncpg.Connection, count_max: int) -> Sequence[Mark]:
    """Take marks, each once: customers first, who wait for what they changed, then references,
    the oldest first."""
    customers: dict[tuple[UUID, date], int] = {}
    months: dict[date, _Month] = {}
    for row_id, customer_id, posted, month in sorted(await connection.fetch(_TAKE, ROWS_MAX)):
        if posted is None:
            customers.setdefault((customer_id, month), row_id)
        else:
            of_month = months.setdefault(month, _Month([], {}))
            of_month.ids.append(row_id)
            of_month.references.update(dict.fromkeys(posted))
    ordered = list(customers.items())
    marks = [Mark(customer_id, None, month) for (customer_id, month), _ in ordered[:count_max]]
    left = [_Row(row_id, *place, None) for place, row_id in ordered[count_max:]]
    room = count_max - len(marks)
    waiting = max(1, sum(len(of_month.references) for of_month in months.values()))
    for month, of_month in months.items():
        # Every month its share, so that none waits for ever.
        share = min(len(of_month.references), -(-room * len(of_month.references) // waiting))
        references = list(of_month.references)
        marks += [Mark(None, reference, month) for reference in references[:share]]
        left += _rows(of_month.ids, month, references[share:])
    if left:
        await connection.executemany(_PUT_BACK, left)
    return marks


class _Month(NamedTuple):
    """The rows of a month's references that were taken."""

    ids: list[int]  # ascending
    references: dict[str, None]  # in the order of the rows


class _Row(NamedTuple):
    """What a row of stale_draft says."""

    id: int
    customer_id: UUID | None
    month: date
    posted: list[str] | None


def _rows(ids: Sequence[int], month: date, references: Sequence[str]) -> Iterator[_Row]:
    """Under the lowest ids of the rows they were in, which are enough: none was fuller."""
    for number, first in enumerate(range(0, len(references), REFERENCES_MAX)):
        yield _Row(ids[number], None, month, list(references[first : first + REFERENCES_MAX]))


@lru_cache(maxsize=100_000)
def _month_of(hour: int) -> date:
    return month_start(hour_start(hour)).date()
