"""Billable metrics: which events match, with what value, in which group. Pure.

Rules: Metronome's billable metric (METRONOME 3.4, 4.2, 4.3). Filters compare text exactly, case
included; a property that is JSON null counts as absent.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from services.domain.event import UsageEvent
from services.domain.number import text_of


class Aggregation(StrEnum):
    """How the values of a metric are combined."""

    COUNT = "COUNT"
    SUM = "SUM"
    MAX = "MAX"
    LATEST = "LATEST"
    UNIQUE = "UNIQUE"


# These read a number from the aggregation key.
NUMERIC = frozenset({Aggregation.SUM, Aggregation.MAX, Aggregation.LATEST})


def property_text(value: object) -> str | None:
    """A property as the text that filters and groups compare; None when it is absent or null."""
    if value is None or type(value) is str:
        return value
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return text_of(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


@dataclass(frozen=True, slots=True)
class ValueFilter:
    """A value passes when it is in `allowed` (if given) and not in `refused`."""

    allowed: frozenset[str] | None = None
    refused: frozenset[str] = frozenset()

    @property
    def is_open(self) -> bool:
        """Whether every value passes."""
        return self.allowed is None and not self.refused

    def passes(self, value: str) -> bool:
        """Whether the filter lets `value` through."""
        return (self.allowed is None or value in self.allowed) and value not in self.refused


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """One property; `exists` True: must be there, False: must be absent, None: either."""

    name: str
    exists: bool | None = None
    values: ValueFilter = ValueFilter()

    def passes(self, properties: Mapping[str, object]) -> bool:
        """Whether an event with these properties passes."""
        return self.passes_text(property_text(properties.get(self.name)))

    def passes_text(self, text: str | None) -> bool:
        """As `passes`, of the property as text; None where it is absent."""
        if text is None:
            return self.exists is not True and self.values.allowed is None
        return self.exists is not False and self.values.passes(text)


def grain_of(group_keys: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The union of the properties in the group keys, in name order."""
    return tuple(sorted({name for key in group_keys for name in key}))


@dataclass(frozen=True, slots=True)
class BillableMetric:
    """What is counted. `grain` is the union of the properties in the group keys, in name order:
    aggregates are kept at that grain and coarser keys roll up on read."""

    id: UUID
    name: str
    aggregation: Aggregation
    aggregation_key: str | None = None
    event_types: ValueFilter = ValueFilter()
    property_filters: tuple[PropertyFilter, ...] = ()
    group_keys: tuple[tuple[str, ...], ...] = ()
    grain: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "grain", grain_of(self.group_keys))

    def matches(self, event: UsageEvent) -> bool:
        """Whether the event's type and properties pass every filter."""
        if not self.event_types.passes(event.event_type):
            return False
        return all(rule.passes(event.properties) for rule in self.property_filters)

    def group_of(self, event: UsageEvent) -> tuple[str | None, ...]:
        """Values of the grain's properties, in its order; None where the event lacks one."""
        properties = event.properties
        return tuple(property_text(properties.get(name)) for name in self.grain)
