"""Metered values of invoice periods, from PostgreSQL: month totals for the whole calendar months
inside a period, hours at its edges.

A customer's usage is the merge over every reference (id and aliases) it has now, so an alias added
later brings its past usage along.

LATERAL and OFFSET 0 fix the order of the joins, and each level is one probe of an index. Left to
itself the planner began with all series of the generation while it had no statistics: 16 million
index probes for 50,000 rows (tests/contract/test_plans.py).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import asyncpg

from services.domain.meter import Aggregation
from services.domain.period import Period
from services.domain.plan import Plan
from services.domain.pricing.usage import PeriodUsage
from services.projector.distinct_postgres import Bucket, count_distinct
from services.projector.drafts import StaleDraft
from services.projector.groups_postgres import GroupedSpan, read_groups
from services.projector.latest_postgres import LAST, LAST_COLUMNS, increments
from services.projector.pieces import EVER, merge, pieces_of, value_of

# Series of each wanted span. Spans travel as numbers: their place in the arrays, from 1.
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

_UNIQUE = """
SELECT w.place::int, s.id
FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w(customer_id, metric_id, place)
CROSS JOIN LATERAL (
    SELECT r.reference FROM customer_reference r WHERE r.customer_id = w.customer_id OFFSET 0
) AS r
CROSS JOIN LATERAL (
    SELECT s.id FROM usage_series s
    WHERE s.generation = $3 AND s.reference = r.reference AND s.metric_id = w.metric_id OFFSET 0
) AS s
"""

_LAST = LAST.format(series_id="s.id")
_LATEST = f"SELECT w.draft::int, s.metric_id, {LAST_COLUMNS} {_SERIES} {_LAST}"


class Span(NamedTuple):
    """A time of which a customer's usage is wanted, at whole hours; what by group, `plan` says."""

    customer_id: UUID
    period: Period
    plan: Plan


Totals = dict[UUID, Decimal]  # by metric


async def read_quantities(
    connection: asyncpg.Connection, drafts: Sequence[StaleDraft], generation: int
) -> Mapping[UUID, PeriodUsage]:
    """Invoice id -> what was used in its period and in the earlier ones, in a generation; metrics
    without usage are absent."""
    spans = [
        Span(draft.customer_id, period, draft.plan)
        for draft in drafts
        for period in (draft.period, *draft.earlier)
    ]
    found = iter(await read_spans(connection, spans, generation))
    usage: dict[UUID, PeriodUsage] = {}
    for draft in drafts:
        own = next(found)
        if draft.earlier:
            own = own._replace(earlier=tuple(next(found) for _ in draft.earlier))
        usage[draft.invoice_id] = own
    return usage


async def read_spans(
    connection: asyncpg.Connection, spans: Sequence[Span], generation: int
) -> list[PeriodUsage]:
    """What was used in each span, in their order."""
    totals: list[Totals] = [{} for _ in spans]
    latest: dict[int, Span] = {}
    unique: dict[tuple[int, UUID], None] = {}
    for table in ("usage_month", "usage_hour"):
        places, wanted = _wanted(spans, table)
        if not places:
            continue
        query = _TOTALS.format(table=table, series=_SERIES)
        rows = await connection.fetch(query, *wanted, generation)
        for number, metric_id, count, total, peak, aggregation in rows:
            place = places[number - 1]
            # Read of the whole span below, and 0 until then.
            if aggregation == Aggregation.LATEST:
                latest[place] = spans[place]
            elif aggregation == Aggregation.UNIQUE:
                unique[place, metric_id] = None
            value, held = value_of(aggregation, count, total, peak), totals[place].get(metric_id)
            totals[place][metric_id] = value if held is None else merge(aggregation, held, value)
    if unique:
        await _add_distinct(connection, totals, spans, list(unique), generation)
    if latest:
        await _add_latest(connection, totals, latest, generation)
    grouped = [
        GroupedSpan(place, span.customer_id, span.period, *meter)
        for place, span in enumerate(spans)
        for meter in span.plan.group_meters
    ]
    if not grouped:
        return [PeriodUsage(total) for total in totals]
    groups = await read_groups(connection, grouped, generation)
    return [PeriodUsage(total, groups.get(place, {})) for place, total in enumerate(totals)]


def _wanted(
    spans: Sequence[Span], table: str
) -> tuple[list[int], tuple[list[UUID], list[datetime], list[datetime]]]:
    """The pieces that a table answers for: their spans, and as columns."""
    places: list[int] = []
    customers: list[UUID] = []
    starts: list[datetime] = []
    ends: list[datetime] = []
    for place, span in enumerate(spans):
        for piece in pieces_of(span.period):
            if piece.table == table:
                places.append(place)
                customers.append(span.customer_id)
                starts.append(piece.period.start)
                ends.append(piece.period.end)
    return places, (customers, starts, ends)


async def _add_distinct(
    connection: asyncpg.Connection,
    totals: list[Totals],
    spans: Sequence[Span],
    unique: Sequence[tuple[int, UUID]],
    generation: int,
) -> None:
    """`unique`: spans with usage under a UNIQUE metric. Values that its series share count once."""
    series: list[list[int]] = [[] for _ in unique]
    customers = [spans[place].customer_id for place, _ in unique]
    metrics = [metric_id for _, metric_id in unique]
    for number, series_id in await connection.fetch(_UNIQUE, customers, metrics, generation):
        series[number - 1].append(series_id)
    buckets = (
        Bucket(number, series[number], spans[place].period)
        for number, (place, _) in enumerate(unique)
    )
    for number, count in (await count_distinct(connection, buckets)).items():
        place, metric_id = unique[number]
        totals[place][metric_id] = count


async def _add_latest(
    connection: asyncpg.Connection,
    totals: list[Totals],
    spans: Mapping[int, Span],
    generation: int,
) -> None:
    before = {
        place: span._replace(period=Period(EVER, span.period.start))
        for place, span in spans.items()
    }
    places = list(spans)
    found = await increments(connection, _LATEST, _columns(spans), _columns(before), generation)
    for (number, metric_id), value in found.items():
        totals[places[number - 1]][metric_id] = value


def _columns(spans: Mapping[int, Span]) -> tuple[list[UUID], list[datetime], list[datetime]]:
    return (
        [span.customer_id for span in spans.values()],
        [span.period.start for span in spans.values()],
        [span.period.end for span in spans.values()],
    )
