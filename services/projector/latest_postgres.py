"""LATEST bills increments (METRONOME 4.2): the latest value of a period less the last one before
it, over all the series that belong together; by event time, then by place in the log.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from services.domain.number import ZERO, subtract

LAST_COLUMNS = "u.latest_at, u.latest_partition, u.latest_offset, u.latest::text"
# The latest value of a series in [w.starts_at, w.ends_at) stands in its last hour that has any.
LAST = """
CROSS JOIN LATERAL (
    SELECT u.latest_at, u.latest_partition, u.latest_offset, u.latest FROM usage_hour u
    WHERE u.series_id = {series_id} AND u.starts_at >= w.starts_at AND u.starts_at < w.ends_at
        AND u.latest_at IS NOT NULL
    ORDER BY u.starts_at DESC LIMIT 1
) AS u
"""

Columns = Sequence[Sequence[object]]
_Last = tuple[datetime, int, int, str]


async def increments(
    connection: asyncpg.Connection, query: str, within: Columns, before: Columns, *more: object
) -> dict[tuple[Any, ...], Decimal]:
    """What a query finds within some spans, less what it finds before them. It returns a series a
    row: the columns that say what belongs together, then LAST_COLUMNS."""
    now = await _latest(connection, query, within, *more)
    then = await _latest(connection, query, before, *more)
    return {
        key: subtract(Decimal(last[-1]), Decimal(then[key][-1]) if key in then else ZERO)
        for key, last in now.items()
    }


async def _latest(
    connection: asyncpg.Connection, query: str, spans: Columns, *more: object
) -> dict[tuple[Any, ...], _Last]:
    latest: dict[tuple[Any, ...], _Last] = {}
    for row in await connection.fetch(query, *spans, *more):
        *key, at, partition, offset, value = row
        found = at, partition, offset, value
        latest[tuple(key)] = max(latest.get(tuple(key), found), found)
    return latest
