"""Which pairs of customer and metric a usage query answers, in order of their creation."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from services.api.errors import fault, not_found, refused
from services.api.replies import Fault
from services.api.usage_bodies import UsageQuery
from services.domain.meter import Aggregation
from services.runtime.json import decode_json


@dataclass(frozen=True, slots=True)
class Pair:
    """A customer under a metric."""

    place: tuple[int, int]  # ordinals of customer and metric
    customer_id: UUID
    metric_id: UUID
    metric_name: str
    aggregation: Aggregation
    group_keys: tuple[tuple[str, ...], ...]

    @property
    def key(self) -> tuple[UUID, UUID]:
        """What it is about."""
        return self.customer_id, self.metric_id


_COLUMNS = """
    SELECT c.ordinal AS customer_ordinal, m.ordinal AS metric_ordinal, c.id AS customer_id,
        m.id AS metric_id, m.name AS metric_name, m.aggregation_type, m.group_keys
"""
_ORDER = """
    AND (c.ordinal, m.ordinal) >= ($1, $2)
    ORDER BY c.ordinal, m.ordinal LIMIT $3
"""
_NAMED = f"""{_COLUMNS}
    FROM customer c CROSS JOIN billable_metric m
    WHERE c.id = ANY($4) AND m.id = ANY($5) {_ORDER}
"""
_USED = f"""{_COLUMNS}
    FROM (SELECT DISTINCT r.customer_id, s.metric_id
        FROM customer_reference r JOIN live_series s ON s.reference = r.reference
        WHERE ($4::uuid[] IS NULL OR r.customer_id = ANY($4))
        AND ($5::uuid[] IS NULL OR s.metric_id = ANY($5))
        AND (EXISTS (SELECT FROM usage_hour h WHERE h.series_id = s.id
                AND h.starts_at >= $6 AND h.starts_at < $7)
            OR EXISTS (SELECT FROM usage_distinct d WHERE d.series_id = s.id
                AND d.starts_at >= $6 AND d.starts_at < $7))) used
    JOIN customer c ON c.id = used.customer_id JOIN billable_metric m ON m.id = used.metric_id
    WHERE true {_ORDER}
"""  # noqa: S608 (constants)


async def fetch_pairs(
    connection: asyncpg.Connection, query: UsageQuery, place: tuple[int, int], limit: int
) -> list[Pair]:
    """At most `limit` pairs from a place on, the place included."""
    metrics = query.billable_metrics
    metric_ids = None if metrics is None else [metric.id for metric in metrics]
    if query.customer_ids is not None and metric_ids is not None:
        rows = await connection.fetch(_NAMED, *place, limit, query.customer_ids, metric_ids)
    else:
        rows = await connection.fetch(
            _USED,
            *place,
            limit,
            query.customer_ids,
            metric_ids,
            query.starting_on,
            query.ending_before,
        )
    return [
        Pair(
            (row["customer_ordinal"], row["metric_ordinal"]),
            row["customer_id"],
            row["metric_id"],
            row["metric_name"],
            Aggregation(row["aggregation_type"]),
            group_keys_of(row["group_keys"]),
        )
        for row in rows
    ]


def group_keys_of(stored: str | None) -> tuple[tuple[str, ...], ...]:
    """The column group_keys."""
    return tuple(tuple(key) for key in decode_json(stored)) if stored is not None else ()


async def check_named(connection: asyncpg.Connection, query: UsageQuery) -> None:
    """404 for an id that names nothing; 400 for a group that a metric was not made with."""
    unknown = await connection.fetchval(
        "SELECT wanted FROM unnest($1::uuid[]) AS wanted"
        " WHERE NOT EXISTS (SELECT FROM customer c WHERE c.id = wanted) LIMIT 1",
        query.customer_ids or [],
    )
    if unknown is not None:
        raise not_found("customer", unknown)
    metrics = query.billable_metrics or []
    rows = await connection.fetch(
        "SELECT id, group_keys FROM billable_metric WHERE id = ANY($1)",
        [metric.id for metric in metrics],
    )
    known = {row["id"]: group_keys_of(row["group_keys"]) for row in rows}
    faults: list[Fault] = []
    for index, metric in enumerate(metrics):
        if metric.id not in known:
            raise not_found("billable metric", metric.id)
        if metric.group_by is not None:
            field = f"billable_metrics[{index}].group_by.key"
            faults += group_key_faults(field, [metric.group_by.key], known[metric.id])
    if faults:
        raise refused(*faults)


def group_key_faults(
    field: str, key: list[str], group_keys: tuple[tuple[str, ...], ...]
) -> list[Fault]:
    """A key must be one that the metric was made with, whole; the order of its parts is free."""
    if any(set(key) == set(declared) for declared in group_keys):
        return []
    declared = " or ".join("[" + ", ".join(parts) + "]" for parts in group_keys) or "none"
    return [
        fault(field, f"[{', '.join(key)}] is not a group key of this metric; it has {declared}")
    ]
