"""What the comparisons with the oracle draw from and compare: metrics over the raw records' few
names, and amounts of both kinds in one form.
"""

from collections.abc import Mapping
from fractions import Fraction
from uuid import UUID

from hypothesis import strategies as st

from services.domain.aggregate import Aggregate, AggregateKey
from services.domain.meter import Aggregation, BillableMetric, PropertyFilter, ValueFilter
from services.domain.reference.usage import Amount, Last, Usage, UsageKey

values = st.frozensets(st.sampled_from(["transfer", "compute", "eu", "1", "", "true"]), min_size=1)
value_filters = st.builds(ValueFilter, st.none() | values, st.just(frozenset[str]()) | values)
property_filters = st.builds(
    PropertyFilter,
    st.sampled_from(["bytes", "region"]),
    st.sampled_from([None, True, False]),
    st.one_of(st.just(ValueFilter()), value_filters),
)
GROUPS: list[tuple[tuple[str, ...], ...]] = [
    (), (("region",),), (("zone",), ("region", "bytes")),
]  # fmt: skip


@st.composite
def metrics(draw: st.DrawFn, number: int) -> BillableMetric:
    """One metric that counts, of any kind; most take every event."""
    aggregation = draw(st.sampled_from(Aggregation))
    filtered = draw(st.booleans())
    return BillableMetric(
        UUID(int=number),
        f"m{number}",
        aggregation,
        None if aggregation is Aggregation.COUNT else "bytes",
        draw(value_filters) if filtered else ValueFilter(),
        tuple(draw(st.lists(property_filters, max_size=2))) if filtered else (),
        draw(st.sampled_from(GROUPS)),
    )


# One metric of every kind without filters, so that there is always something to compare.
EVERY_KIND = tuple(
    BillableMetric(
        UUID(int=100 + number),
        kind.value,
        kind,
        None if kind is Aggregation.COUNT else "bytes",
        group_keys=(("region",),) if number % 2 else (),
    )
    for number, kind in enumerate(Aggregation)
)
metric_sets = st.tuples(metrics(1), metrics(2), metrics(3)).map(lambda drawn: (*EVERY_KIND, *drawn))


def as_usage(aggregates: Mapping[AggregateKey, Aggregate]) -> Usage:
    """The pipeline's aggregates in the oracle's form."""
    return {UsageKey(*key): _amount(aggregate) for key, aggregate in aggregates.items()}


def _amount(aggregate: Aggregate) -> Amount:
    latest = aggregate.latest
    return Amount(
        aggregate.count,
        Fraction(aggregate.total),
        None if aggregate.peak is None else Fraction(aggregate.peak),
        None if latest is None else Last(*latest[:3], Fraction(latest.value)),
        set(aggregate.distinct),
    )
