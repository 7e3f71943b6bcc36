"""Billable metrics in the database and as replies show them. Holds no rule of a request."""

from datetime import datetime
from typing import Any, NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.errors import not_found
from services.domain.meter import Aggregation
from services.runtime.json import decode_json


class EventTypeFilter(TypedDict):
    """Which event types count."""

    in_values: NotRequired[list[str]]
    not_in_values: NotRequired[list[str]]


class PropertyFilter(TypedDict):
    """A rule on one property."""

    name: str
    exists: NotRequired[bool]
    in_values: NotRequired[list[str]]
    not_in_values: NotRequired[list[str]]


class BillableMetric(TypedDict):
    """Metronome's BillableMetric."""

    id: UUID
    name: str
    aggregation_type: Aggregation
    aggregation_key: NotRequired[str]
    event_type_filter: NotRequired[EventTypeFilter]
    property_filters: NotRequired[list[PropertyFilter]]
    group_keys: NotRequired[list[list[str]]]
    custom_fields: dict[str, str]
    archived_at: NotRequired[datetime]


class CustomerBillableMetric(BillableMetric):
    """With the fields that Metronome deprecated and older clients still read."""

    aggregate: str
    aggregate_keys: list[str]
    filter: dict[str, Any]
    group_by: list[str]


METRIC_COLUMNS = """
    m.id, m.ordinal, m.name, m.aggregation_type, m.aggregation_key, m.event_type_filter,
    m.property_filters, m.group_keys, m.custom_fields, m.archived_at
"""


def metric_of(row: asyncpg.Record) -> BillableMetric:
    """A row with METRIC_COLUMNS; what is not set is left out, as Metronome does."""
    metric = BillableMetric(
        id=row["id"],
        name=row["name"],
        aggregation_type=Aggregation(row["aggregation_type"]),
        custom_fields=decode_json(row["custom_fields"]),
    )
    if row["aggregation_key"] is not None:
        metric["aggregation_key"] = row["aggregation_key"]
    if row["event_type_filter"] is not None:
        metric["event_type_filter"] = decode_json(row["event_type_filter"])
    if row["property_filters"] is not None:
        metric["property_filters"] = decode_json(row["property_filters"])
    if row["group_keys"] is not None:
        metric["group_keys"] = decode_json(row["group_keys"])
    if row["archived_at"] is not None:
        metric["archived_at"] = row["archived_at"]
    return metric


def customer_metric_of(row: asyncpg.Record) -> CustomerBillableMetric:
    """With the deprecated fields. `group_by` lists every property that a group key names."""
    metric = metric_of(row)
    key = metric.get("aggregation_key")
    names = [name for group_key in metric.get("group_keys", []) for name in group_key]
    return CustomerBillableMetric(
        **metric,
        aggregate=metric["aggregation_type"].lower(),
        aggregate_keys=[] if key is None else [key],
        filter={
            "event_type": metric.get("event_type_filter", {}),
            "properties": metric.get("property_filters", []),
        },
        group_by=list(dict.fromkeys(names)),
    )


async def fetch_metric(connection: asyncpg.Connection, metric_id: UUID) -> asyncpg.Record:
    """The metric's row with METRIC_COLUMNS, or 404."""
    row = await connection.fetchrow(
        f"SELECT {METRIC_COLUMNS} FROM billable_metric m WHERE m.id = $1",  # noqa: S608 (constant)
        metric_id,
    )
    if row is None:
        raise not_found("billable metric", metric_id)
    return row
