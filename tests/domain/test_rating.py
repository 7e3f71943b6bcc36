"""Rating is total and exact: every event is counted or rejected, however the events are cut."""

from copy import deepcopy
from datetime import timedelta, timezone
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain import rating
from services.domain.aggregate import Aggregate, AggregateKey, hour_of
from services.domain.catalog import Catalog
from services.domain.event import Event
from services.domain.meter import Aggregation, BillableMetric, PropertyFilter, ValueFilter
from services.domain.rating import GROUP_BYTES_MAX, Rated
from services.domain.rejection import Reason
from tests.domain.strategies import START, events, metrics

METRIC = UUID(int=7)
Numbered = list[tuple[int, Event]]


def rate(partition: int, posted: Numbered, catalog: Catalog) -> Rated:
    """Rate events that are given with their offsets."""
    offsets, given_events = [offset for offset, _ in posted], [each for _, each in posted]
    return rating.rate(partition, offsets, given_events, catalog)


def catalog_of(*held: BillableMetric) -> Catalog:
    return Catalog(1, held)


def one(aggregation: Aggregation, *group: str) -> BillableMetric:
    key = None if aggregation is Aggregation.COUNT else "bytes"
    groups = (group,) if group else ()
    return BillableMetric(METRIC, "m", aggregation, key, group_keys=groups)


def event(**properties: object) -> Event:
    return Event("t", "a", "transfer", START, properties)


def numbered(posted: list[Event]) -> Numbered:
    return list(enumerate(posted))


def merged(parts: list[Rated]) -> dict[AggregateKey, Aggregate]:
    """All parts' aggregates together."""
    whole: dict[AggregateKey, Aggregate] = {}
    for part in parts:
        for key, aggregate in part.aggregates.items():
            whole.setdefault(key, Aggregate()).merge(deepcopy(aggregate))
    return whole


event_lists = st.lists(events, max_size=30).map(numbered)
catalogs = st.lists(metrics(), max_size=4, unique_by=lambda m: m.id).map(
    lambda held: Catalog(1, tuple(held))
)


@given(event_lists, catalogs)
def test_every_event_is_counted_or_rejected(posted: Numbered, catalog: Catalog) -> None:
    rated = rate(0, posted, catalog)
    assert rated.counted + rated.rejected == len(posted)
    assert rated.unmatched == sum(
        not any(metric.matches(each) for metric in catalog.metrics) for _, each in posted
    )
    offsets = {offset for offset, _ in posted}
    assert {rejection.offset for rejection in rated.rejections} <= offsets
    assert rated.rejected <= len({rejection.offset for rejection in rated.rejections})


@given(event_lists, catalogs, st.data())
def test_shuffling_and_splitting_change_no_aggregate(
    posted: Numbered, catalog: Catalog, data: st.DataObject
) -> None:
    whole = rate(0, posted, catalog)
    shuffled = data.draw(st.permutations(posted))
    cut = data.draw(st.integers(0, len(shuffled)))
    parts = [rate(0, shuffled[:cut], catalog), rate(0, shuffled[cut:], catalog)]
    assert merged(parts) == whole.aggregates
    for name in ("counted", "rejected", "unmatched"):
        assert sum(getattr(part, name) for part in parts) == getattr(whole, name)


@given(event_lists, metrics(), st.lists(metrics(), max_size=3))
def test_a_metric_never_takes_usage_from_its_neighbours(
    posted: Numbered, metric: BillableMetric, others: list[BillableMetric]
) -> None:
    neighbours = [other for other in others if other.id != metric.id]
    alone = rate(0, posted, catalog_of(metric)).aggregates
    together = rate(0, posted, catalog_of(*neighbours, metric)).aggregates
    assert {key: a for key, a in together.items() if key.metric_id == metric.id} == alone


def test_an_event_that_one_metric_refuses_and_another_counts_is_counted() -> None:
    other = BillableMetric(UUID(int=8), "events", Aggregation.COUNT)
    rated = rate(0, [(5, event(bytes="many"))], catalog_of(one(Aggregation.SUM), other))
    assert (rated.counted, rated.rejected, rated.unmatched) == (1, 0, 0)
    assert [(r.offset, r.metric_id) for r in rated.rejections] == [(5, METRIC)]
    assert [key.metric_id for key in rated.aggregates] == [other.id]


def test_an_event_of_no_metric_is_counted_and_unmatched() -> None:
    types = ValueFilter(frozenset({"compute"}))
    other = BillableMetric(METRIC, "m", Aggregation.COUNT, event_types=types)
    rated = rate(0, [(0, event())], catalog_of(other))
    assert (rated.counted, rated.rejected, rated.unmatched) == (1, 0, 1)
    assert rated.aggregates == {}


@pytest.mark.parametrize(
    ("aggregation", "properties", "reason"),
    [
        (Aggregation.SUM, {}, Reason.MISSING_VALUE),
        (Aggregation.MAX, {"bytes": None}, Reason.MISSING_VALUE),
        (Aggregation.UNIQUE, {"Bytes": "1"}, Reason.MISSING_VALUE),
        (Aggregation.SUM, {"bytes": "many"}, Reason.NOT_A_NUMBER),
        (Aggregation.MAX, {"bytes": ""}, Reason.NOT_A_NUMBER),
        (Aggregation.LATEST, {"bytes": True}, Reason.NOT_A_NUMBER),
        (Aggregation.SUM, {"bytes": [5]}, Reason.NOT_A_NUMBER),
        (Aggregation.SUM, {"bytes": "NaN"}, Reason.NOT_A_NUMBER),
        (Aggregation.SUM, {"bytes": "1e400"}, Reason.NOT_A_NUMBER),
    ],
)
def test_a_value_that_cannot_be_taken_is_rejected_with_the_property_named(
    aggregation: Aggregation, properties: dict[str, object], reason: Reason
) -> None:
    rated = rate(0, [(3, event(**properties))], catalog_of(one(aggregation)))
    assert (rated.counted, rated.rejected) == (0, 1)
    [rejection] = rated.rejections
    assert (rejection.offset, rejection.reason, rejection.metric_id) == (3, reason, METRIC)
    assert "'bytes'" in rejection.detail
    assert rated.aggregates == {}


def test_a_huge_value_is_not_repeated_in_full_in_the_rejection() -> None:
    rated = rate(0, [(0, event(bytes="x" * 200_000))], catalog_of(one(Aggregation.SUM)))
    assert len(rated.rejections[0].detail) < 200


@pytest.mark.parametrize("aggregation", Aggregation)
def test_group_values_beyond_what_a_key_holds_are_rejected(aggregation: Aggregation) -> None:
    fits, beyond = "x" * GROUP_BYTES_MAX, "\xfc" * (GROUP_BYTES_MAX // 2) + "x"
    posted = numbered([event(bytes=1, region=fits), event(bytes=1, region=beyond)])
    rated = rate(0, posted, catalog_of(one(aggregation, "region")))
    assert [(r.offset, r.reason) for r in rated.rejections] == [(1, Reason.GROUP_TOO_LONG)]
    assert [key.group for key in rated.aggregates] == [(fits,)]


def test_usage_is_kept_apart_by_customer_group_and_hour() -> None:
    other = Event("t", "b", "transfer", START, {"bytes": "4"})
    posted = numbered([event(bytes="1", region="eu"), event(bytes="2"), other])
    rated = rate(0, posted, catalog_of(one(Aggregation.SUM, "region")))
    hour = hour_of(START)
    assert {key: aggregate.total for key, aggregate in rated.aggregates.items()} == {
        AggregateKey("a", METRIC, ("eu",), hour): Decimal(1),
        AggregateKey("a", METRIC, (None,), hour): Decimal(2),
        AggregateKey("b", METRIC, (None,), hour): Decimal(4),
    }


def test_text_and_number_of_the_same_value_add_up() -> None:
    values: list[object] = ["5000", 1000, Decimal("0.5"), "5e-1"]
    posted = numbered([event(bytes=value) for value in values])
    [aggregate] = rate(0, posted, catalog_of(one(Aggregation.SUM))).aggregates.values()
    assert aggregate.total == 6001


def test_a_filter_on_existence_leaves_the_event_unmatched_instead_of_rejected() -> None:
    guarded = BillableMetric(
        METRIC, "m", Aggregation.SUM, "bytes", property_filters=(PropertyFilter("bytes", True),)
    )
    rated = rate(0, [(0, event())], catalog_of(guarded))
    assert (rated.counted, rated.unmatched, rated.rejections) == (1, 1, [])


def test_rejections_come_in_the_order_of_events_then_of_metrics() -> None:
    """Whatever the columns: by type, by group, by hour."""
    total, peak = (
        BillableMetric(UUID(int=number), "m", kind, "bytes", group_keys=(("region",),))
        for number, kind in ((9, Aggregation.SUM), (8, Aggregation.MAX))
    )
    drawn: list[tuple[str, int, str, object]] = [
        ("transfer", 1, "eu", "many"),
        ("compute", 0, "us", None),
        ("transfer", 0, "x" * 2_000, "1"),
        ("transfer", 0, "eu", "1"),
        ("compute", 1, "eu", []),
        ("transfer", 1, "us", None),
    ]
    posted = numbered(
        [
            Event("t", "a", kind, START + timedelta(hours=hour), {"region": region, "bytes": value})
            for kind, hour, region, value in drawn
        ]
    )
    rated = rate(0, posted, catalog_of(total, peak))
    reasons = [
        (0, Reason.NOT_A_NUMBER), (1, Reason.MISSING_VALUE), (2, Reason.GROUP_TOO_LONG),
        (4, Reason.NOT_A_NUMBER), (5, Reason.MISSING_VALUE),
    ]  # fmt: skip
    assert [(r.offset, r.reason, r.metric_id) for r in rated.rejections] == [
        (offset, reason, metric.id) for offset, reason in reasons for metric in (total, peak)
    ]
    assert (rated.counted, rated.rejected, rated.unmatched) == (1, 5, 0)


def test_the_hour_is_that_of_utc_whatever_the_zone_of_the_event() -> None:
    half = timezone(timedelta(hours=5, minutes=30))
    times = [START, (START + timedelta(minutes=59)).astimezone(half), START + timedelta(hours=1)]
    posted = numbered([Event("t", "a", "transfer", at, {}) for at in times])
    for some in (posted[:2], posted):
        rated = rate(0, some, catalog_of(one(Aggregation.COUNT)))
        hours = {key.hour: aggregate.count for key, aggregate in rated.aggregates.items()}
        assert hours == {hour_of(START): 2, **({hour_of(START) + 1: 1} if len(some) > 2 else {})}


def test_tallies_that_are_there_are_added_to() -> None:
    catalog = catalog_of(one(Aggregation.SUM, "region"))
    posted = [event(bytes="1", region="eu"), event(bytes="0.5", region="eu"), event(bytes=2)]
    whole = rate(0, numbered(posted), catalog).aggregates
    tallies = rating.rate(0, [0, 1], posted[:2], catalog).tallies
    assert rating.rate(0, [2], posted[2:], catalog, tallies).aggregates == whole
