"""Which events a metric matches and in which group: Metronome's rules (METRONOME 3.4, 4.3)."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from services.domain.columns import Columns, Group
from services.domain.event import Event
from services.domain.meter import (
    Aggregation,
    BillableMetric,
    PropertyFilter,
    ValueFilter,
    property_text,
)

AT = datetime(2026, 11, 24, tzinfo=UTC)
ANY = ValueFilter()


def of_type(event_type: str) -> Event:
    return Event("t", "c", event_type, AT)


def event(**properties: object) -> Event:
    return Event("t", "c", "transfer", AT, properties)


def metric(*filters: PropertyFilter, types: ValueFilter = ANY) -> BillableMetric:
    return BillableMetric(UUID(int=1), "m", Aggregation.COUNT, None, types, filters)


def matches(wanted: BillableMetric, posted: Event) -> bool:
    columns = Columns([7], [posted]).passing(wanted.property_filters)
    return wanted.event_types.passes(posted.event_type) and columns.offsets == [7]


def group_of(wanted: BillableMetric, posted: Event) -> Group:
    [(group, _)] = Columns([7], [posted]).places(wanted.grain)
    return group


def only(*values: str) -> ValueFilter:
    return ValueFilter(allowed=frozenset(values))


def never(*values: str) -> ValueFilter:
    return ValueFilter(refused=frozenset(values))


@pytest.mark.parametrize(
    ("types", "event_type", "expected"),
    [
        (ANY, "anything", True),
        (only("transfer"), "transfer", True),
        (only("transfer"), "compute", False),
        (only("transfer"), "Transfer", False),  # case counts
        (only("transfer"), "transfer ", False),
        (never("transfer"), "compute", True),
        (never("transfer"), "transfer", False),
        (ValueFilter(frozenset({"a", "b"}), frozenset({"b"})), "a", True),
        (ValueFilter(frozenset({"a", "b"}), frozenset({"b"})), "b", False),
    ],
)
def test_event_type_filter(types: ValueFilter, event_type: str, expected: bool) -> None:
    assert matches(metric(types=types), of_type(event_type)) is expected


@pytest.mark.parametrize(
    ("rule", "properties", "expected"),
    [
        (PropertyFilter("region", exists=True), {"region": "eu"}, True),
        (PropertyFilter("region", exists=True), {"region": ""}, True),
        (PropertyFilter("region", exists=True), {"region": False}, True),
        (PropertyFilter("region", exists=True), {}, False),
        (PropertyFilter("region", exists=True), {"region": None}, False),  # null is absent
        (PropertyFilter("region", exists=True), {"Region": "eu"}, False),  # case counts
        (PropertyFilter("region", exists=False), {}, True),
        (PropertyFilter("region", exists=False), {"region": None}, True),
        (PropertyFilter("region", exists=False), {"region": "eu"}, False),
        (PropertyFilter("region"), {}, True),
        (PropertyFilter("region"), {"region": "eu"}, True),
        (PropertyFilter("region", values=only("eu")), {"region": "eu"}, True),
        (PropertyFilter("region", values=only("eu")), {"region": "EU"}, False),
        (PropertyFilter("region", values=only("eu")), {}, False),
        (PropertyFilter("region", values=never("eu")), {"region": "us"}, True),
        (PropertyFilter("region", values=never("eu")), {"region": "eu"}, False),
        (PropertyFilter("region", values=never("eu")), {}, True),
        (PropertyFilter("region", True, never("eu")), {}, False),
        (PropertyFilter("n", values=only("5000")), {"n": 5000}, True),
        (PropertyFilter("n", values=only("0.1")), {"n": Decimal("0.10")}, True),
        (PropertyFilter("n", values=only("true")), {"n": True}, True),
        (PropertyFilter("n", values=only("1")), {"n": True}, False),
    ],
)
def test_property_filter(
    rule: PropertyFilter, properties: dict[str, object], expected: bool
) -> None:
    assert matches(metric(rule), event(**properties)) is expected


def test_every_filter_must_pass() -> None:
    both = metric(PropertyFilter("region", True), PropertyFilter("tier", values=only("gold")))
    assert matches(both, event(region="eu", tier="gold"))
    assert not matches(both, event(region="eu", tier="tin"))
    assert not matches(both, event(tier="gold"))


def test_the_grain_is_the_union_of_the_group_keys_in_name_order() -> None:
    grouped = BillableMetric(
        UUID(int=1),
        "m",
        Aggregation.COUNT,
        group_keys=(("tier",), ("region", "tier"), ("region",)),
    )
    assert grouped.grain == ("region", "tier")
    assert group_of(grouped, event(tier="gold", region="eu")) == ("eu", "gold")
    assert group_of(grouped, event(tier="gold")) == (None, "gold")
    assert group_of(grouped, event(tier=None, region=7)) == ("7", None)
    assert group_of(metric(), event(region="eu")) == ()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        ("", ""),
        ("GPT-4", "GPT-4"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (10**37, "1" + "0" * 37),
        (Decimal("6E+3"), "6000"),
        (Decimal("1E-7"), "0.0000001"),
        ([1, "b"], '[1,"b"]'),
        ({"b": 1, "a": None}, '{"a":null,"b":1}'),
    ],
)
def test_a_property_as_text(value: object, text: str | None) -> None:
    assert property_text(value) == text
