"""What a sound billable metric is, before it is stored: it can never be changed afterwards."""

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from services.api.fields import Body, CustomFields, Identity, Name, any_case, reject
from services.domain.event import EVENT_TYPE_LENGTH_MAX
from services.domain.meter import Aggregation

FILTERS_MAX = 100
FILTER_VALUES_MAX = 1_000
GROUP_KEYS_MAX = 20
GROUP_KEY_PROPERTIES_MAX = 10
PROPERTY_LENGTH_MAX = 256

Property = Annotated[str, Field(min_length=1, max_length=PROPERTY_LENGTH_MAX)]
EventTypes = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=EVENT_TYPE_LENGTH_MAX)]],
    Field(min_length=1, max_length=FILTER_VALUES_MAX),
]
Values = Annotated[list[str], Field(min_length=1, max_length=FILTER_VALUES_MAX)]


class EventTypeFilterBody(Body):
    """Which event types count; compared exactly, case included."""

    in_values: EventTypes | None = None
    not_in_values: EventTypes | None = None


class PropertyFilterBody(Body):
    """A rule on one property; all rules must hold."""

    name: Property
    exists: bool | None = None
    in_values: Values | None = None
    not_in_values: Values | None = None

    @property
    def is_present(self) -> bool:
        """Whether the rule makes sure that the property is there."""
        return self.exists is True or (self.exists is None and self.in_values is not None)


class CreateMetric(Body):
    """POST /v1/billable-metrics/create"""

    name: Name
    aggregation_type: Annotated[Aggregation, any_case(Aggregation)] | None = None
    aggregation_key: Property | None = None
    event_type_filter: EventTypeFilterBody | None = None
    property_filters: Annotated[list[PropertyFilterBody] | None, Field(max_length=FILTERS_MAX)] = (
        None
    )
    group_keys: Annotated[
        list[Annotated[list[Property], Field(min_length=1, max_length=GROUP_KEY_PROPERTIES_MAX)]]
        | None,
        Field(max_length=GROUP_KEYS_MAX),
    ] = None
    custom_fields: CustomFields | None = None
    sql: Annotated[str | None, Field(description="refused: Tollgate runs no SQL metrics")] = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        reject([*self._aggregation_faults(), *self._filter_faults(), *self._group_faults()])
        return self

    def _aggregation_faults(self) -> Iterator[tuple[str, str]]:
        if self.sql is not None:
            yield (
                ".sql",
                "Tollgate does not run SQL metrics; say what to count with aggregation_type, "
                "event_type_filter and property_filters",
            )
            return
        if self.aggregation_type is None:
            kinds = ", ".join(kind.value for kind in Aggregation)
            yield ".aggregation_type", f"is missing; one of {kinds}"
        elif self.aggregation_type is Aggregation.COUNT:
            if self.aggregation_key is not None:
                yield ".aggregation_key", "is not applicable when the aggregation type is COUNT"
        elif self.aggregation_key is None:
            yield (
                ".aggregation_key",
                f"is missing; {self.aggregation_type.value} reads the property that it names",
            )
        else:
            yield from self._key_faults(self.aggregation_key)

    def _key_faults(self, key: str) -> Iterator[tuple[str, str]]:
        # Metronome's older walk-through makes metrics without property filters; they stay sound,
        # because an event without the property is rejected with a reason, never counted as 0.
        if not self.property_filters:
            return
        rules = [rule for rule in self.property_filters if rule.name == key]
        if not rules:
            yield (
                ".aggregation_key",
                "The specified aggregation key must be one of the property filter names",
            )
        elif any(rule.exists is False for rule in rules):
            yield ".aggregation_key", "a property filter wants it absent, so nothing would count"

    def _filter_faults(self) -> Iterator[tuple[str, str]]:
        for index, rule in enumerate(self.property_filters or []):
            if rule.exists is False and rule.in_values is not None:
                yield (
                    f".property_filters[{index}]",
                    "exists: false contradicts in_values, so nothing would count",
                )

    def _group_faults(self) -> Iterator[tuple[str, str]]:
        present = {rule.name for rule in self.property_filters or [] if rule.is_present}
        seen: set[frozenset[str]] = set()
        for index, key in enumerate(self.group_keys or []):
            field = f".group_keys[{index}]"
            if len(set(key)) < len(key):
                yield field, "names a property twice"
            if frozenset(key) in seen:
                yield field, "repeats a group key before it"
            seen.add(frozenset(key))
            for name in key:
                if self.property_filters and name not in present:
                    yield (
                        field,
                        f"{name!r} must be in property_filters with exists: true or in_values",
                    )


class RenameMetric(Body):
    """PUT /v1/billable-metrics/{billable_metric_id}"""

    name: Name


class ArchiveMetric(Body):
    """POST /v1/billable-metrics/archive"""

    id: Identity
