"""Metered values of invoice periods, from PostgreSQL: month totals where the period is a whole
month, hours for the part of a month in which a plan starts or ends.

A customer's usage is the merge over every reference (id and aliases) it has now, so an alias added
later brings its past usage along.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.domain.meter import Aggregation
from services.domain.number import ZERO, subtract
from services.projector.drafts import StaleDraft

# Rows: invoice, metric, aggregation and the merged value.
# LATEST bills increments (METRONOME 4.2): `before` is the latest value before the period.
_TOTALS = """
WITH wanted AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
      AS w(invoice_id, customer_id, starts_at, ends_at)
)
SELECT w.invoice_id, s.metric_id, m.aggregation_type,
    sum(u.count) AS count, sum(u.total) AS total, max(u.peak) AS peak,
    (array_agg(u.latest ORDER BY u.latest_at DESC NULLS LAST, u.latest_partition DESC,
        u.latest_offset DESC))[1] AS latest
FROM wanted w
JOIN customer_reference r ON r.customer_id = w.customer_id
JOIN usage_series s ON s.generation = $5 AND s.reference = r.reference
JOIN billable_metric m ON m.id = s.metric_id
JOIN {table} u ON u.series_id = s.id AND u.starts_at >= w.starts_at AND u.starts_at < w.ends_at
GROUP BY w.invoice_id, s.metric_id, m.aggregation_type
"""

_DISTINCT = """
SELECT w.invoice_id, s.metric_id, count(DISTINCT d.value) AS distinct_values
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
  AS w(invoice_id, customer_id, starts_at, ends_at)
JOIN customer_reference r ON r.customer_id = w.customer_id
JOIN usage_series s ON s.generation = $5 AND s.reference = r.reference
JOIN usage_distinct d ON d.series_id = s.id
  AND d.starts_at >= w.starts_at AND d.starts_at < w.ends_at
GROUP BY w.invoice_id, s.metric_id
"""

_LATEST_BEFORE = """
SELECT DISTINCT ON (w.invoice_id, s.metric_id) w.invoice_id, s.metric_id, u.latest
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
  AS w(invoice_id, customer_id, starts_at, ends_at)
JOIN customer_reference r ON r.customer_id = w.customer_id
JOIN usage_series s ON s.generation = $5 AND s.reference = r.reference
JOIN usage_hour u ON u.series_id = s.id AND u.starts_at < w.starts_at AND u.latest_at IS NOT NULL
ORDER BY w.invoice_id, s.metric_id, u.latest_at DESC, u.latest_partition DESC, u.latest_offset DESC
"""

Quantities = dict[UUID, dict[UUID, Decimal]]
Columns = tuple[list[object], list[object], list[object], list[object]]


async def read_quantities(
    connection: asyncpg.Connection, drafts: Sequence[StaleDraft], generation: int
) -> Mapping[UUID, Mapping[UUID, Decimal]]:
    """Invoice id -> metric id -> value in a generation; metrics without usage are absent."""
    quantities: Quantities = {}
    incremental: set[UUID] = set()
    distinct: set[UUID] = set()
    for table, whole in (("usage_month", True), ("usage_hour", False)):
        part = [draft for draft in drafts if draft.whole_month is whole]
        if not part:
            continue
        for row in await connection.fetch(_TOTALS.format(table=table), *_columns(part), generation):
            value = _value(row)
            quantities.setdefault(row["invoice_id"], {})[row["metric_id"]] = value
            if row["aggregation_type"] == Aggregation.LATEST:
                incremental.add(row["invoice_id"])
            elif row["aggregation_type"] == Aggregation.UNIQUE:
                distinct.add(row["invoice_id"])
    if distinct:
        part = [draft for draft in drafts if draft.invoice_id in distinct]
        for row in await connection.fetch(_DISTINCT, *_columns(part), generation):
            quantities[row["invoice_id"]][row["metric_id"]] = Decimal(row["distinct_values"])
    if incremental:
        part = [draft for draft in drafts if draft.invoice_id in incremental]
        for row in await connection.fetch(_LATEST_BEFORE, *_columns(part), generation):
            of_invoice = quantities[row["invoice_id"]]
            if row["metric_id"] in of_invoice:
                of_invoice[row["metric_id"]] = subtract(of_invoice[row["metric_id"]], row["latest"])
    return quantities


def _columns(drafts: Sequence[StaleDraft]) -> Columns:
    return (
        [draft.invoice_id for draft in drafts],
        [draft.customer_id for draft in drafts],
        [draft.period.start for draft in drafts],
        [draft.period.end for draft in drafts],
    )


def _value(row: asyncpg.Record) -> Decimal:
    match row["aggregation_type"]:
        case Aggregation.COUNT:
            return Decimal(row["count"])
        case Aggregation.SUM:
            return Decimal(row["total"])
        case Aggregation.MAX:
            return ZERO if row["peak"] is None else Decimal(row["peak"])
        case Aggregation.LATEST:
            return ZERO if row["latest"] is None else Decimal(row["latest"])
        case _:
            return ZERO  # UNIQUE: filled in from usage_distinct
