"""What the properties draw from: numbers within the limits, events, metrics, aggregates."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

from services.domain.aggregate import Aggregate, Latest
from services.domain.event import Event
from services.domain.meter import (
    Aggregation,
    BillableMetric,
    PropertyFilter,
    ValueFilter,
    property_text,
)

START = datetime(2026, 11, 1, tzinfo=UTC)


def decimals(digits_max: int = 38, places_max: int = 38) -> st.SearchStrategy[Decimal]:
    """Finite decimals with at most so many digits before and after the point, both signs."""

    def build(negative: bool, whole: int, places: int, fraction: int) -> Decimal:
        tail = str(fraction)[:places].rjust(places, "0")
        return Decimal(f"{'-' if negative else ''}{whole}.{tail}" if places else str(whole))

    return st.builds(
        build,
        st.booleans(),
        st.one_of(st.integers(0, 20), st.integers(0, 10**digits_max - 1)),
        st.integers(0, places_max),
        st.integers(0, 10**places_max - 1),
    )


# Few values each, so that events collide in every way there is.
event_types = st.sampled_from(["transfer", "compute", "Transfer"])
regions = st.sampled_from(["eu", "us", "EU", ""])
property_values = st.one_of(
    st.none(),
    regions,
    st.sampled_from(["5000", "1e3", "-0.1", "many", "NaN", "0.5"]),
    st.booleans(),
    st.integers(-5, 5),
    decimals(5, 5),
)

events = st.builds(
    Event,
    transaction_id=st.just("t"),
    customer_id=st.sampled_from(["a", "b"]),
    event_type=event_types,
    timestamp=st.integers(0, 3 * 3600).map(lambda s: START + timedelta(seconds=s)),
    properties=st.dictionaries(st.sampled_from(["bytes", "region"]), property_values),
)

value_sets = st.frozensets(st.sampled_from(["transfer", "compute", "eu", "us"]), min_size=1)
value_filters = st.builds(
    ValueFilter, st.none() | value_sets, st.just(frozenset[str]()) | value_sets
)
property_filters = st.builds(
    PropertyFilter,
    st.sampled_from(["bytes", "region"]),
    st.sampled_from([None, True, False]),
    value_filters,
)


def metrics(filters_max: int = 1) -> st.SearchStrategy[BillableMetric]:
    """Metrics of every aggregation, filtered and grouped or not."""
    return st.builds(
        BillableMetric,
        id=st.integers(1, 2**64).map(lambda number: UUID(int=number)),
        name=st.just("m"),
        aggregation=st.sampled_from(Aggregation),
        aggregation_key=st.just("bytes"),
        event_types=value_filters,
        property_filters=st.lists(property_filters, max_size=filters_max).map(tuple),
        group_keys=st.sampled_from([(), (("region",),), (("region",), ("region", "bytes"))]),
    )


@st.composite
def latests(draw: st.DrawFn) -> Latest:
    """Places in the log, often at the same instant; the value is a function of the place, as it is
    in a log."""
    second, partition, offset = draw(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 5))
    )
    value = Decimal(second * 100 + partition * 10 + offset)
    return Latest(START + timedelta(seconds=second), partition, offset, value)


aggregates = st.builds(
    Aggregate,
    count=st.integers(0, 2**40),
    total=decimals(),
    peak=st.none() | decimals(),
    latest=st.none() | latests(),
    distinct=st.sets(st.sampled_from("abcdef")),
)


def matches(metric: BillableMetric, event: Event) -> bool:
    """Whether a metric counts an event, one filter after the other."""
    return metric.event_types.passes(event.event_type) and all(
        rule.passes_text(property_text(event.properties.get(rule.name)))
        for rule in metric.property_filters
    )
