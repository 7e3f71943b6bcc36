"""Rating: fold unique events into tallies. Pure and total: bad data becomes a value.

An event that several metrics match is counted by those that can; one that cannot take its value
records a rejection. The event is `rejected` only when some metric refused it and none counted it,
so a badly defined metric never takes usage away from its neighbours.

The events of a range are taken by type, as columns, and a metric counts all of them at once; what
comes out does not depend on that, because tallies are sums.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from services.domain.aggregate import Aggregate, AggregateKey, Latest, distinct_text
from services.domain.catalog import Catalog
from services.domain.columns import Columns, Group, pick
from services.domain.event import UsageEvent
from services.domain.meter import NUMERIC, Aggregation, BillableMetric, property_text
from services.domain.rejection import Reason, Rejection
from services.domain.tally import Tallies, Tally, aggregates_of

# Group values together, as UTF-8: they are part of a database key.
GROUP_BYTES_MAX = 1_024


@dataclass(slots=True)
class Rated:
    """The result for one range."""

    tallies: Tallies
    rejections: list[Rejection] = field(default_factory=list)
    counted: int = 0  # unmatched included
    rejected: int = 0
    unmatched: int = 0

    @property
    def aggregates(self) -> dict[AggregateKey, Aggregate]:
        """The tallies by whole key."""
        return aggregates_of(self.tallies)


def rate(
    partition: int,
    offsets: Sequence[int],
    events: Sequence[UsageEvent],
    catalog: Catalog,
    into: Tallies | None = None,
) -> Rated:
    """Fold events of one partition, with their raw offsets, under one catalog; adds to the tallies
    `into`, or to new ones. Rejections come in the order of events, then of metrics."""
    rated = Rated({} if into is None else into)
    for event_type, columns in _by_type(offsets, events):
        _rate_type(rated, partition, event_type, columns, catalog)
    # Those of one event are in the catalog's order already, and sorting keeps it.
    rated.rejections.sort(key=lambda rejection: rejection.offset)
    return rated


def _by_type(offsets: Sequence[int], events: Sequence[UsageEvent]) -> Iterator[tuple[str, Columns]]:
    types = [event.event_type for event in events]
    if len(set(types)) == 1:
        yield types[0], Columns(offsets, events)
        return
    positions: dict[str, list[int]] = defaultdict(list)
    for at, event_type in enumerate(types):
        positions[event_type].append(at)
    for event_type, own in positions.items():
        yield event_type, Columns(pick(offsets, own), pick(events, own))


def _rate_type(
    rated: Rated, partition: int, event_type: str, columns: Columns, catalog: Catalog
) -> None:
    taken: set[int] = set()
    refused: set[int] = set()
    for metric in catalog.candidates(event_type):
        if not metric.event_types.passes(event_type):
            continue
        matching = columns.passing(metric.property_filters)
        if not len(matching):
            continue
        rejections = _count(rated.tallies, metric, partition, matching)
        rated.rejections += rejections
        own = {rejection.offset for rejection in rejections}
        refused |= own
        if len(taken) < len(columns):
            taken.update(offset for offset in matching.offsets if offset not in own)
    rejected = len(refused - taken)
    rated.rejected += rejected
    rated.counted += len(columns) - rejected
    rated.unmatched += len(columns) - rejected - len(taken)


def _count(
    tallies: Tallies, metric: BillableMetric, partition: int, columns: Columns
) -> list[Rejection]:
    """Count events under one metric; why those were not that could not be."""
    rejections: list[Rejection] = []
    values = _values(metric, columns)
    gaps = values is not None and None in values
    for (group, hour), positions in columns.places(metric.grain).items():
        if group and _is_too_long(group):
            detail = f"the values of {', '.join(metric.grain)} exceed {GROUP_BYTES_MAX} bytes"
            rejections += [
                Rejection(columns.offsets[at], Reason.GROUP_TOO_LONG, detail, metric.id)
                for at in positions
            ]
            continue
        usable = positions
        if values is not None and gaps:
            usable = [at for at in positions if values[at] is not None]
            rejections += [_refused(metric, columns, at) for at in positions if values[at] is None]
        if usable:
            key = (metric.id, group, hour)
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = Tally()
            own = None if values is None else pick(values, usable)
            _add(tally, metric.aggregation, columns, usable, partition=partition, values=own)
    return rejections


def _values(metric: BillableMetric, columns: Columns) -> Sequence[Any] | None:
    """What the metric reads of every event: a number, or for UNIQUE a text; None where it is not
    there, or no number. A COUNT reads nothing."""
    if metric.aggregation is Aggregation.COUNT:
        return None
    assert metric.aggregation_key is not None, f"metric {metric.id} has no aggregation key"
    if metric.aggregation in NUMERIC:
        return columns.numbers(metric.aggregation_key)
    return columns.texts(metric.aggregation_key)


def _add(
    tally: Tally,
    aggregation: Aggregation,
    columns: Columns,
    positions: Sequence[int],
    *,
    partition: int,
    values: Sequence[Any] | None,
) -> None:
    """Add the events at `positions`, with what each has for the metric; None for a COUNT."""
    references = pick(columns.references, positions)
    tally.counts.update(references)
    if values is None:
        return
    match aggregation:
        case Aggregation.SUM:
            tally.add_totals(references, values)
        case Aggregation.MAX:
            tally.add_peaks(references, values)
        case Aggregation.LATEST:
            sightings = [
                Latest(columns.events[at].timestamp, partition, columns.offsets[at], Decimal(value))
                for at, value in zip(positions, values, strict=True)
            ]
            tally.add_latest(references, sightings)
        case Aggregation.UNIQUE:
            tally.add_distinct(references, [(distinct_text(text),) for text in values])


def _is_too_long(group: Group) -> bool:
    return sum(len(text.encode()) for text in group if text) > GROUP_BYTES_MAX


def _refused(metric: BillableMetric, columns: Columns, position: int) -> Rejection:
    """Why an event has no value for a metric."""
    name, offset = metric.aggregation_key, columns.offsets[position]
    value = columns.events[position].properties.get(name or "")
    if value is None:
        detail = f"property {name!r} is absent"
        return Rejection(offset, Reason.MISSING_VALUE, detail, metric.id)
    detail = f"property {name!r} is {_shown(value)}, not a number"
    return Rejection(offset, Reason.NOT_A_NUMBER, detail, metric.id)


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str) else (property_text(value) or "null")
    return text if len(text) <= 80 else text[:77] + "..."
