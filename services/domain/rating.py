"""Rating: fold unique events into partial aggregates. Pure and total: bad data becomes a value.

An event that several metrics match is counted by those that can; one that cannot take its value
records a rejection. The event is `rejected` only when some metric refused it and none counted it,
so a badly defined metric never takes usage away from its neighbours.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.domain.aggregate import Aggregate, AggregateKey, Latest, distinct_text, hour_of
from services.domain.catalog import Catalog
from services.domain.event import UsageEvent
from services.domain.meter import NUMERIC, Aggregation, BillableMetric, property_text
from services.domain.number import parse_number
from services.domain.rejection import Reason, Rejection

# Group values together, as UTF-8: they are part of a database key.
GROUP_BYTES_MAX = 1_024


@dataclass(slots=True)
class Rated:
    """The result for one range."""

    aggregates: dict[AggregateKey, Aggregate] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    counted: int = 0  # unmatched included
    rejected: int = 0
    unmatched: int = 0


def rate(partition: int, events: Iterable[tuple[int, UsageEvent]], catalog: Catalog) -> Rated:
    """Fold (raw offset, event) pairs of one partition under one catalog."""
    rated = Rated()
    for offset, event in events:
        taken = refused = 0
        for metric in catalog.candidates(event.event_type):
            if not metric.matches(event):
                continue
            rejection = _count(rated.aggregates, metric, partition, offset, event)
            if rejection is None:
                taken += 1
            else:
                refused += 1
                rated.rejections.append(rejection)
        if refused and not taken:
            rated.rejected += 1
            continue
        rated.counted += 1
        if not taken:
            rated.unmatched += 1
    return rated


def _count(
    aggregates: dict[AggregateKey, Aggregate],
    metric: BillableMetric,
    partition: int,
    offset: int,
    event: UsageEvent,
) -> Rejection | None:
    """Count one event under one metric, or say why not."""
    group = metric.group_of(event) if metric.grain else ()
    if group and sum(len(text.encode()) for text in group if text) > GROUP_BYTES_MAX:
        detail = f"the values of {', '.join(metric.grain)} exceed {GROUP_BYTES_MAX} bytes"
        return Rejection(offset, Reason.GROUP_TOO_LONG, detail, metric.id)
    key = AggregateKey(event.customer_id, metric.id, group, hour_of(event.timestamp))
    aggregation = metric.aggregation
    if aggregation is Aggregation.COUNT:
        _aggregate(aggregates, key).count += 1
        return None
    assert metric.aggregation_key is not None, f"metric {metric.id} has no aggregation key"
    value = event.properties.get(metric.aggregation_key)
    if value is None:
        detail = f"property {metric.aggregation_key!r} is absent"
        return Rejection(offset, Reason.MISSING_VALUE, detail, metric.id)
    if aggregation in NUMERIC:
        number = parse_number(value)
        if number is None:
            detail = f"property {metric.aggregation_key!r} is {_shown(value)}, not a number"
            return Rejection(offset, Reason.NOT_A_NUMBER, detail, metric.id)
        latest = Latest(event.timestamp, partition, offset, number)
        _aggregate(aggregates, key).add_number(aggregation, latest)
        return None
    aggregate = _aggregate(aggregates, key)
    aggregate.count += 1
    aggregate.distinct.add(distinct_text(property_text(value) or ""))
    return None


def _aggregate(aggregates: dict[AggregateKey, Aggregate], key: AggregateKey) -> Aggregate:
    aggregate = aggregates.get(key)
    if aggregate is None:
        aggregate = aggregates[key] = Aggregate()
    return aggregate


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else (property_text(value) or "null")
    return text if len(text) <= 80 else text[:77] + "..."
