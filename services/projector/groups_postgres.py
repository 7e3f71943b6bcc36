"""Metered values by group, for charges with a group key: of every span, a value for each value of
the key that has usage in it.

Series are of the metric's grain, so those of one value of a coarser key are put together here: in
buckets, numbered for the queries. LATERAL and OFFSET 0: see `quantities_postgres`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.domain.meter import Aggregation, BillableMetric
from services.domain.period import Period
from services.domain.pricing.usage import GroupKey, GroupValues
from services.projector.distinct_postgres import Bucket, count_distinct
from services.projector.latest_postgres import LAST, LAST_COLUMNS, increments
from services.projector.pieces import EVER, merge, pieces_of, value_of
from services.runtime.json import decode_json
from services.runtime.metric_rows import COLUMNS, metric

_METRICS = f"SELECT {COLUMNS} FROM billable_metric WHERE id = ANY($1)"  # noqa: S608 (a constant)

_SERIES = """
SELECT w.place::int, s.id, s.group_values
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w(customer_id, metric_id, place)
CROSS JOIN LATERAL (
    SELECT r.reference FROM customer_reference r WHERE r.customer_id = w.customer_id OFFSET 0
) AS r
CROSS JOIN LATERAL (
    SELECT s.id, s.group_values FROM usage_series s
    WHERE s.generation = $3 AND s.reference = r.reference AND s.metric_id = w.metric_id OFFSET 0
) AS s
"""

_PARTS = """
FROM unnest($1::bigint[], $2::timestamptz[], $3::timestamptz[], $4::int[])
    AS w(series_id, starts_at, ends_at, bucket)
"""
_TOTALS = """
SELECT w.bucket, sum(u.count)::bigint, sum(u.total)::text, max(u.peak)::text
{parts}
CROSS JOIN LATERAL (
    SELECT u.count, u.total, u.peak FROM {table} u
    WHERE u.series_id = w.series_id AND u.starts_at >= w.starts_at AND u.starts_at < w.ends_at
    OFFSET 0
) AS u
GROUP BY w.bucket
"""
_LAST = LAST.format(series_id="w.series_id")
_LATEST = f"SELECT w.bucket, {LAST_COLUMNS} {_PARTS} {_LAST}"


class GroupedSpan(NamedTuple):
    """A time of which a customer's usage under a metric is wanted by the values of a key."""

    place: int  # the caller's number
    customer_id: UUID
    period: Period
    metric_id: UUID
    key: GroupKey


Groups = dict[tuple[UUID, GroupKey], dict[GroupValues, Decimal]]


@dataclass(slots=True)
class _Bucket:
    """The series of one value of a key, in one span."""

    span: GroupedSpan
    aggregation: Aggregation
    values: GroupValues
    series: list[int] = field(default_factory=list)


async def read_groups(
    connection: asyncpg.Connection, spans: Sequence[GroupedSpan], generation: int
) -> Mapping[int, Groups]:
    """By the caller's number, what the groups of its spans come to."""
    buckets = await _buckets(connection, spans, generation)
    found: dict[int, Decimal] = {}
    for table in ("usage_month", "usage_hour"):
        parts = _columns(_pieces(buckets, table))
        if not parts[0]:
            continue
        query = _TOTALS.format(table=table, parts=_PARTS)
        for number, *values in await connection.fetch(query, *parts):
            aggregation = buckets[number].aggregation
            value, held = value_of(aggregation, *values), found.get(number)
            found[number] = value if held is None else merge(aggregation, held, value)
    unique = [n for n in found if buckets[n].aggregation is Aggregation.UNIQUE]
    if unique:
        distinct = (Bucket(n, buckets[n].series, buckets[n].span.period) for n in unique)
        found.update(await count_distinct(connection, distinct))
    latest = [n for n in found if buckets[n].aggregation is Aggregation.LATEST]
    if latest:
        # Within each group.
        within, before = (_columns(_whole(buckets, latest, before=b)) for b in (False, True))
        moved = await increments(connection, _LATEST, within, before)
        found.update((number, value) for (number,), value in moved.items())
    groups: dict[int, Groups] = {}
    for number, value in found.items():
        bucket = buckets[number]
        of_span = groups.setdefault(bucket.span.place, {})
        of_key = of_span.setdefault((bucket.span.metric_id, bucket.span.key), {})
        of_key[bucket.values] = value
    return groups


async def _buckets(
    connection: asyncpg.Connection, spans: Sequence[GroupedSpan], generation: int
) -> list[_Bucket]:
    """What there is to sum up; a bucket's number is its place."""
    pairs = list(dict.fromkeys((span.customer_id, span.metric_id) for span in spans))
    rows = await connection.fetch(_METRICS, list({metric_id for _, metric_id in pairs}))
    metrics = {row["id"]: metric(row) for row in rows}
    series: dict[tuple[UUID, UUID], list[tuple[int, GroupValues]]] = {}
    customers, metric_ids = zip(*pairs, strict=True)
    for place, series_id, values in await connection.fetch(
        _SERIES, list(customers), list(metric_ids), generation
    ):
        series.setdefault(pairs[place - 1], []).append((series_id, tuple(decode_json(values))))
    buckets: list[_Bucket] = []
    for span in spans:
        of_metric = metrics[span.metric_id]
        found: dict[GroupValues, _Bucket] = {}
        for series_id, values in series.get((span.customer_id, span.metric_id), ()):
            rolled = _rolled_up(of_metric, values, span.key)
            bucket = found.setdefault(rolled, _Bucket(span, of_metric.aggregation, rolled))
            bucket.series.append(series_id)
        buckets += found.values()
    return buckets


def _rolled_up(of_metric: BillableMetric, values: GroupValues, key: GroupKey) -> GroupValues:
    """The values of a key's properties, in its order, of those of the metric's grain."""
    by_name = dict(zip(of_metric.grain, values, strict=True))
    return tuple(by_name[name] for name in key)


_Part = tuple[int, datetime, datetime, int]  # series, start, end, bucket


def _columns(parts: Iterator[_Part]) -> list[list[object]]:
    return [list(column) for column in zip(*parts, strict=True)] or [[], [], [], []]


def _pieces(buckets: Sequence[_Bucket], table: str) -> Iterator[_Part]:
    for number, bucket in enumerate(buckets):
        for piece in pieces_of(bucket.span.period):
            if piece.table == table:
                for series_id in bucket.series:
                    yield series_id, piece.period.start, piece.period.end, number


def _whole(
    buckets: Sequence[_Bucket], numbers: Sequence[int], *, before: bool = False
) -> Iterator[_Part]:
    """The whole spans of some buckets, or all that was before them."""
    for number in numbers:
        start, end = buckets[number].span.period.start, buckets[number].span.period.end
        for series_id in buckets[number].series:
            yield (series_id, EVER, start, number) if before else (series_id, start, end, number)
