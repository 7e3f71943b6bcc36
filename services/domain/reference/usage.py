"""What was used, by the oracle: which metric counts an event, in which group and hour, and how each
aggregation goes on. Fractions and sets, nothing merged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from services.domain.event import Event
from services.domain.meter import Aggregation, BillableMetric, PropertyFilter, ValueFilter
from services.domain.reference.event_json import text_of_property
from services.domain.reference.numbers import number_of
from services.domain.rejection import Reason

GROUP_BYTES_MAX = 1_024
WHOLE_BYTES_MAX = 256  # of a distinct value; a longer one stands there as its digest
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UsageKey(NamedTuple):
    """What one amount is about: the customer as posted, the metric, the group, the hour."""

    reference: str
    metric_id: UUID
    group: tuple[str | None, ...]
    hour: int  # hours since the epoch


class Last(NamedTuple):
    """The value that happened last; the place in the log decides between equal times."""

    occurred_at: datetime
    partition: int
    offset: int
    value: Fraction


@dataclass(slots=True)
class Amount:
    """What was used under one key. Only what the metric's aggregation needs is ever set."""

    count: int = 0
    total: Fraction = Fraction(0)
    peak: Fraction | None = None
    latest: Last | None = None
    distinct: set[str] = field(default_factory=set)


Usage = dict[UsageKey, Amount]


def count(
    usage: Usage, metric: BillableMetric, event: Event, place: tuple[int, int]
) -> bool | Reason:
    """Count one event, at a place (partition, raw offset), under one metric. False: the metric is
    not about it; a reason: it is, and cannot take it."""
    if not matches(metric, event):
        return False
    names = sorted({name for key in metric.group_keys for name in key})
    group = tuple(text_of_property(event.properties.get(name)) for name in names)
    if sum(len(text.encode()) for text in group if text is not None) > GROUP_BYTES_MAX:
        return Reason.GROUP_TOO_LONG
    hour = (event.timestamp - EPOCH) // timedelta(hours=1)
    key = UsageKey(event.customer_id, metric.id, group, hour)
    if metric.aggregation is Aggregation.COUNT:
        usage.setdefault(key, Amount()).count += 1
        return True
    assert metric.aggregation_key is not None
    value = event.properties.get(metric.aggregation_key)
    if value is None:
        return Reason.MISSING_VALUE
    return _add(usage, key, metric.aggregation, value, (event.timestamp, *place))


def _add(
    usage: Usage,
    key: UsageKey,
    aggregation: Aggregation,
    value: object,
    place: tuple[datetime, int, int],
) -> bool | Reason:
    """Add the value of a property."""
    if aggregation is Aggregation.UNIQUE:
        amount = usage.setdefault(key, Amount())
        amount.count += 1
        amount.distinct.add(_distinct(text_of_property(value) or ""))
        return True
    number = number_of(value)
    if number is None:
        return Reason.NOT_A_NUMBER
    _take(usage.setdefault(key, Amount()), aggregation, Last(*place, number))
    return True


def _take(amount: Amount, aggregation: Aggregation, number: Last) -> None:
    amount.count += 1
    if aggregation is Aggregation.SUM:
        amount.total += number.value
    elif aggregation is Aggregation.MAX:
        if amount.peak is None or number.value > amount.peak:
            amount.peak = number.value
    elif amount.latest is None or number[:3] > amount.latest[:3]:
        amount.latest = number


def _distinct(text: str) -> str:
    encoded = text.encode()
    if len(encoded) > WHOLE_BYTES_MAX:
        return f"blake2b:{blake2b(encoded, digest_size=32).hexdigest()}"
    return text


def matches(metric: BillableMetric, event: Event) -> bool:
    """Whether every filter of the metric lets the event through."""
    if not _among(metric.event_types, event.event_type):
        return False
    return all(_lets_through(rule, event.properties) for rule in metric.property_filters)


def _lets_through(rule: PropertyFilter, properties: Mapping[str, object]) -> bool:
    """A property that is absent (or null) fails a filter that wants it there or lists values."""
    text = text_of_property(properties.get(rule.name))
    if text is None:
        return rule.exists is not True and rule.values.allowed is None
    if rule.exists is False:
        return False
    return _among(rule.values, text)


def _among(rule: ValueFilter, text: str) -> bool:
    if rule.allowed is not None and text not in rule.allowed:
        return False
    return text not in rule.refused
