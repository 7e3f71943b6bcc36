"""Usage queries, checked before anything is read."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.api.fields import Body, Identity, Midnight, any_case, reject
from services.api.windows import WindowSize

GROUP_VALUES_MAX = 200
CUSTOMERS_MAX = 1_000
METRICS_MAX = 100

GroupValue = Annotated[str, Field(min_length=1)]
GroupProperty = Annotated[str, Field(min_length=1)]
Size = Annotated[WindowSize, any_case(WindowSize)]


class GroupBy(Body):
    """One property to split by, and which of its values (absent: all, up to 200)."""

    key: GroupProperty
    values: Annotated[list[GroupValue] | None, Field(min_length=1, max_length=GROUP_VALUES_MAX)] = (
        None
    )


class MetricQuery(Body):
    """One metric of a query."""

    id: Identity
    group_by: GroupBy | None = None


class UsageQuery(Body):
    """POST /v1/usage"""

    starting_on: Midnight
    ending_before: Midnight
    window_size: Size
    customer_ids: Annotated[list[Identity] | None, Field(max_length=CUSTOMERS_MAX)] = None
    billable_metrics: Annotated[list[MetricQuery] | None, Field(max_length=METRICS_MAX)] = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        faults = order_faults(self.starting_on, self.ending_before)
        ids = [metric.id for metric in self.billable_metrics or []]
        faults += [
            (f".billable_metrics[{index}].id", "is named twice")
            for index, metric_id in enumerate(ids)
            if metric_id in ids[:index]
        ]
        reject(faults)
        return self


class GroupsQuery(Body):
    """POST /v1/usage/groups"""

    customer_id: Identity
    billable_metric_id: Identity
    window_size: Size
    starting_on: Midnight | None = None
    ending_before: Midnight | None = None
    current_period: bool | None = None
    group_key: Annotated[list[GroupProperty] | None, Field(min_length=1, max_length=10)] = None
    group_filters: Annotated[
        dict[str, list[GroupValue]] | None,
        Field(description="values by property of group_key; an empty list: all values"),
    ] = None
    group_by: Annotated[
        GroupBy | None,
        Field(
            description="use group_key and group_filters", json_schema_extra={"deprecated": True}
        ),
    ] = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        reject([*self._range_faults(), *self._group_faults()])
        return self

    def _range_faults(self) -> list[tuple[str, str]]:
        dates = (self.starting_on, self.ending_before)
        if self.current_period:
            if dates != (None, None):
                return [(".current_period", "cannot be combined with dates")]
            return []
        missing = [
            (field, "is missing; give both dates, or current_period: true")
            for field, date in zip((".starting_on", ".ending_before"), dates, strict=True)
            if date is None
        ]
        return missing or order_faults(*dates)

    def _group_faults(self) -> list[tuple[str, str]]:
        faults: list[tuple[str, str]] = []
        filters = self.group_filters or {}
        if self.group_by is not None and (self.group_key is not None or filters):
            faults.append((".group_by", "cannot be combined with group_key or group_filters"))
        faults += [
            (f".group_filters.{name}", "is not a property of group_key")
            for name in filters
            if name not in (self.group_key or [])
        ]
        count = sum(len(values) for values in filters.values())
        if count > GROUP_VALUES_MAX:
            faults.append((".group_filters", f"holds {count} values, more than {GROUP_VALUES_MAX}"))
        return faults

    @property
    def key(self) -> list[str]:
        """The properties to group by; empty when the query does not group."""
        return [self.group_by.key] if self.group_by is not None else self.group_key or []

    @property
    def wanted(self) -> dict[str, frozenset[str]]:
        """The values that pass, by property; a property without an entry passes with any."""
        if self.group_by is not None:
            values = self.group_by.values
            return {} if values is None else {self.group_by.key: frozenset(values)}
        return {
            name: frozenset(values) for name, values in (self.group_filters or {}).items() if values
        }


def order_faults(
    starting_on: datetime | None, ending_before: datetime | None
) -> list[tuple[str, str]]:
    """Both are midnights, so a later end is a day later at least."""
    if starting_on is None or ending_before is None or ending_before > starting_on:
        return []
    return [(".ending_before", "must be at least one day after starting_on")]
