"""Reading counted usage: which series belong to a query, and their sums by window.

A series is one posted reference, metric and group; a customer's usage is the merge over all its
references. PostgreSQL merges exactly as `services.domain.aggregate` does (numeric never rounds on
addition; a test compares the two), because the hours of a large query need not travel for that.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.api.windows import Windows
from services.domain.aggregate import Aggregate
from services.domain.meter import Aggregation
from services.domain.number import plain
from services.runtime.json import decode_json

# A query over more series than this would hold up everyone else's.
SERIES_MAX = 200_000

# Buckets are numbers that the caller gives to what it wants summed together.
_HOURS = """
    SELECT ((extract(epoch FROM h.starts_at) - $3)::bigint / $4) AS number, chosen.bucket,
        sum(h.count)::bigint AS count, sum(h.total) AS total, max(h.peak) AS peak,
        (array_agg(h.latest ORDER BY h.latest_at DESC, h.latest_partition DESC,
            h.latest_offset DESC) FILTER (WHERE h.latest_at IS NOT NULL))[1] AS latest
    FROM unnest($1::bigint[], $2::int[]) AS chosen (series_id, bucket)
    JOIN usage_hour h ON h.series_id = chosen.series_id
    WHERE h.starts_at >= $5 AND h.starts_at < $6
    GROUP BY 1, 2
"""
_DISTINCT = """
    SELECT ((extract(epoch FROM d.starts_at) - $3)::bigint / $4) AS number, chosen.bucket,
        count(DISTINCT d.value) AS count
    FROM unnest($1::bigint[], $2::int[]) AS chosen (series_id, bucket)
    JOIN usage_distinct d ON d.series_id = chosen.series_id
    WHERE d.starts_at >= $5 AND d.starts_at < $6
    GROUP BY 1, 2
"""
# Keyset paging over (window, bucket), where the caller's buckets are numbered in its order.
_PAGE = " HAVING (({number}), chosen.bucket) > ($7, $8) ORDER BY 1, 2 LIMIT $9"
_NUMBER = "(extract(epoch FROM {table}.starts_at) - $3)::bigint / $4"
_HOURS_PAGE = _HOURS + _PAGE.format(number=_NUMBER.format(table="h"))
_DISTINCT_PAGE = _DISTINCT + _PAGE.format(number=_NUMBER.format(table="d"))


class Place(NamedTuple):
    """One value of a reply: a window's number and a bucket."""

    window: int
    bucket: int


@dataclass(frozen=True, slots=True)
class Series:
    """One line of usage."""

    id: int
    customer_id: UUID
    metric_id: UUID
    group: tuple[str | None, ...]  # in the order of the metric's grain


class TooManySeries(Exception):
    """A query touches more than SERIES_MAX series."""


async def fetch_series(
    connection: asyncpg.Connection, customer_ids: list[UUID], metric_ids: list[UUID]
) -> list[Series]:
    """Every series of these customers under these metrics; raises TooManySeries."""
    rows = await connection.fetch(
        "SELECT s.id, r.customer_id, s.metric_id, s.group_values FROM customer_reference r"
        " JOIN live_series s ON s.reference = r.reference"
        " WHERE r.customer_id = ANY($1) AND s.metric_id = ANY($2) LIMIT $3",
        customer_ids,
        metric_ids,
        SERIES_MAX + 1,
    )
    if len(rows) > SERIES_MAX:
        raise TooManySeries
    return [
        Series(
            row["id"],
            row["customer_id"],
            row["metric_id"],
            tuple(decode_json(row["group_values"])),
        )
        for row in rows
    ]


def roll_up(
    group: tuple[str | None, ...], grain: Sequence[str], key: list[str]
) -> tuple[str | None, ...]:
    """The values of a coarser key's properties, in the key's order."""
    by_name = dict(zip(grain, group, strict=True))
    return tuple(by_name[name] for name in key)


async def measure(
    connection: asyncpg.Connection,
    chosen: Mapping[Aggregation, list[tuple[int, int]]],
    windows: Windows,
    first: int,
    last: int,
) -> dict[Place, Decimal | None]:
    """Values by (window, bucket) of the (series, bucket) pairs of each aggregation, where there
    was usage, over the windows `first` to `last`, both inclusive."""
    values: dict[Place, Decimal | None] = {}
    for aggregation, pairs in chosen.items():
        query = _DISTINCT if aggregation is Aggregation.UNIQUE else _HOURS
        rows = await connection.fetch(query, *_arguments(pairs, windows, first, last))
        for row in rows:
            values[Place(row["number"], row["bucket"])] = _value(row, aggregation)
    return values


async def measure_page(
    connection: asyncpg.Connection,
    aggregation: Aggregation,
    pairs: list[tuple[int, int]],
    windows: Windows,
    part: tuple[Place, int],
) -> list[tuple[Place, Decimal | None]]:
    """Values in order: `part` says beyond which place, and how many at most."""
    after, limit = part
    query = _DISTINCT_PAGE if aggregation is Aggregation.UNIQUE else _HOURS_PAGE
    first = max(after.window, 0)
    if first >= windows.count:
        return []
    arguments = _arguments(pairs, windows, first, windows.count - 1)
    rows = await connection.fetch(query, *arguments, after.window, after.bucket, limit)
    return [(Place(row["number"], row["bucket"]), _value(row, aggregation)) for row in rows]


def _arguments(
    pairs: list[tuple[int, int]], windows: Windows, first: int, last: int
) -> tuple[object, ...]:
    part = windows.between(first, last)
    return (
        [series_id for series_id, _ in pairs],
        [bucket for _, bucket in pairs],
        Decimal(int(windows.range.start.timestamp())),
        int(windows.length.total_seconds()),
        part.start,
        part.end,
    )


def _value(row: asyncpg.Record, aggregation: Aggregation) -> Decimal | None:
    match aggregation:
        case Aggregation.COUNT | Aggregation.UNIQUE:
            return Decimal(row["count"])
        case Aggregation.SUM:
            return plain(row["total"])
        case Aggregation.MAX:
            return None if row["peak"] is None else plain(row["peak"])
        case Aggregation.LATEST:
            return None if row["latest"] is None else plain(row["latest"])


def nothing(aggregation: Aggregation) -> Decimal | None:
    """The value of a window without usage: 0, or null where no value was ever seen."""
    return Aggregate().quantity(aggregation)
