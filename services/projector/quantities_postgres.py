"""Metered values of invoice periods, from PostgreSQL: month totals where the period is a whole
month, hours for the part of a month in which a plan starts or ends.

A customer's usage is the merge over every reference (id and aliases) it has now, so an alias added
later brings its past usage along.

LATERAL and OFFSET 0 fix the order of the joins, and each level is one probe of an index. Left to
itself the planner began with all series of the generation while it had no statistics: 16 million
index probes for 50,000 rows (tests/contract/test_plans.py).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.domain.meter import Aggregation
from services.domain.number import ZERO, subtract
from services.projector.drafts import StaleDraft

# Series of each wanted period. Drafts travel as numbers: their place in the arrays, from 1.
_SERIES = """
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY
    AS w(customer_id, starts_at, ends_at, draft)
CROSS JOIN LATERAL (
    SELECT r.reference FROM customer_reference r WHERE r.customer_id = w.customer_id OFFSET 0
) AS r
CROSS JOIN LATERAL (
    SELECT s.id, s.metric_id FROM usage_series s
    WHERE s.generation = $4 AND s.reference = r.reference OFFSET 0
) AS s
"""

# Numbers as text: exact, and cheaper to read than the binary form.
_TOTALS = """
SELECT t.draft::int, t.metric_id, t.count::bigint, t.total::text, t.peak::text,
    (SELECT m.aggregation_type FROM billable_metric m WHERE m.id = t.metric_id) AS aggregation
FROM (
    SELECT w.draft, s.metric_id, sum(u.count) AS count, sum(u.total) AS total,
        max(u.peak) AS peak
    {series}
    CROSS JOIN LATERAL (
        SELECT u.count, u.total, u.peak FROM {table} u
        WHERE u.series_id = s.id AND u.starts_at >= w.starts_at AND u.starts_at < w.ends_at
        OFFSET 0
    ) AS u
    GROUP BY w.draft, s.metric_id
) AS t
"""

_DISTINCT = """
SELECT w.draft::int, s.metric_id, count(DISTINCT d.value) AS count
{series}
CROSS JOIN LATERAL (
    SELECT d.value FROM usage_distinct d
    WHERE d.series_id = s.id AND d.starts_at >= w.starts_at AND d.starts_at < w.ends_at OFFSET 0
) AS d
GROUP BY w.draft, s.metric_id
"""

# The latest value of a series in [starts_at, ends_at) stands in its last hour that has any.
_LATEST = """
SELECT w.draft::int, s.metric_id, u.latest_at, u.latest_partition, u.latest_offset, u.latest::text
{series}
CROSS JOIN LATERAL (
    SELECT u.latest_at, u.latest_partition, u.latest_offset, u.latest FROM usage_hour u
    WHERE u.series_id = s.id AND u.starts_at >= w.starts_at AND u.starts_at < w.ends_at
        AND u.latest_at IS NOT NULL
    ORDER BY u.starts_at DESC LIMIT 1
) AS u
"""

Quantities = dict[UUID, dict[UUID, Decimal]]
Columns = tuple[list[UUID], list[datetime], list[datetime]]


# Before every event.
_EVER = datetime(1, 1, 1, tzinfo=UTC)


async def read_quantities(
    connection: asyncpg.Connection, drafts: Sequence[StaleDraft], generation: int
) -> Mapping[UUID, Mapping[UUID, Decimal]]:
    """Invoice id -> metric id -> value in a generation; metrics without usage are absent."""
    quantities: Quantities = {}
    latest: dict[UUID, StaleDraft] = {}
    distinct: dict[UUID, StaleDraft] = {}
    for table, whole in (("usage_month", True), ("usage_hour", False)):
        part = [draft for draft in drafts if draft.whole_month is whole]
        if not part:
            continue
        rows = await connection.fetch(
            _TOTALS.format(table=table, series=_SERIES), *_within(part), generation
        )
        for number, metric_id, count, total, peak, aggregation in rows:
            draft = part[number - 1]
            of_invoice = quantities.setdefault(draft.invoice_id, {})
            match aggregation:
                case Aggregation.COUNT:
                    of_invoice[metric_id] = Decimal(count)
                case Aggregation.SUM:
                    of_invoice[metric_id] = Decimal(total)
                case Aggregation.MAX:
                    of_invoice[metric_id] = ZERO if peak is None else Decimal(peak)
                case Aggregation.LATEST:
                    of_invoice[metric_id] = ZERO
                    latest[draft.invoice_id] = draft
                case Aggregation.UNIQUE:
                    of_invoice[metric_id] = ZERO
                    distinct[draft.invoice_id] = draft
    if distinct:
        await _add_distinct(connection, quantities, list(distinct.values()), generation)
    if latest:
        await _add_latest(connection, quantities, list(latest.values()), generation)
    return quantities


async def _add_distinct(
    connection: asyncpg.Connection,
    quantities: Quantities,
    drafts: Sequence[StaleDraft],
    generation: int,
) -> None:
    for number, metric_id, count in await connection.fetch(
        _DISTINCT.format(series=_SERIES), *_within(drafts), generation
    ):
        quantities[drafts[number - 1].invoice_id][metric_id] = Decimal(count)


async def _add_latest(
    connection: asyncpg.Connection,
    quantities: Quantities,
    drafts: Sequence[StaleDraft],
    generation: int,
) -> None:
    """LATEST bills increments (METRONOME 4.2): the latest value less the one before the period."""
    now = await _latest(connection, drafts, _within(drafts), generation)
    before = await _latest(connection, drafts, _before(drafts), generation)
    for (invoice_id, metric_id), (*_, value) in now.items():
        quantities[invoice_id][metric_id] = Decimal(value)
    for (invoice_id, metric_id), (*_, value) in before.items():
        of_invoice = quantities[invoice_id]
        if metric_id in of_invoice:
            of_invoice[metric_id] = subtract(of_invoice[metric_id], Decimal(value))


async def _latest(
    connection: asyncpg.Connection,
    drafts: Sequence[StaleDraft],
    wanted: Columns,
    generation: int,
) -> dict[tuple[UUID, UUID], tuple[datetime, int, int, str]]:
    """By invoice and metric, over all its series: by event time, then place in the log."""
    latest: dict[tuple[UUID, UUID], tuple[datetime, int, int, str]] = {}
    for number, metric_id, *found in await connection.fetch(
        _LATEST.format(series=_SERIES), *wanted, generation
    ):
        place = drafts[number - 1].invoice_id, metric_id
        latest[place] = max(latest.get(place, tuple(found)), tuple(found))
    return latest


def _within(drafts: Sequence[StaleDraft]) -> Columns:
    return (
        [draft.customer_id for draft in drafts],
        [draft.period.start for draft in drafts],
        [draft.period.end for draft in drafts],
    )


def _before(drafts: Sequence[StaleDraft]) -> Columns:
    return (
        [draft.customer_id for draft in drafts],
        [_EVER for _ in drafts],
        [draft.period.start for draft in drafts],
    )
