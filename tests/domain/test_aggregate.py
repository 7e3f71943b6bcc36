"""Aggregates form commutative monoids: neither order nor batching can change an invoice."""

from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.aggregate import (
    Aggregate,
    AggregateKey,
    Latest,
    distinct_text,
    hour_of,
    hour_start,
)
from services.domain.meter import Aggregation
from services.domain.tally import Tally, TallyKey, aggregates_of
from tests.domain.strategies import START, aggregates, decimals

KEY: TallyKey = (UUID(int=1), ("eu", None), 500_000)


def merged(*parts: Aggregate) -> Aggregate:
    """The merge of copies, from zero."""
    whole = Aggregate()
    for part in parts:
        whole.merge(deepcopy(part))
    return whole


def folded(aggregation: Aggregation, observations: list[Latest]) -> Aggregate:
    """What rating makes of these values of one key."""
    tally = Tally()
    references = ["a"] * len(observations)
    tally.counts.update(references)
    values = [observed.value for observed in observations]
    match aggregation:
        case Aggregation.SUM:
            tally.add_totals(references, values)
        case Aggregation.MAX:
            tally.add_peaks(references, values)
        case Aggregation.LATEST:
            tally.add_latest(references, observations)
        case Aggregation.UNIQUE:
            tally.add_distinct(references, [{distinct_text(str(value))} for value in values])
    return aggregates_of({KEY: tally}).get(AggregateKey("a", *KEY), Aggregate())


def by_hand(aggregation: Aggregation, observations: list[Latest]) -> Fraction | None:
    """The same quantity without aggregates."""
    values = [Fraction(number.value) for number in observations]
    match aggregation:
        case Aggregation.COUNT:
            return Fraction(len(values))
        case Aggregation.SUM:
            return sum(values, Fraction(0))
        case Aggregation.MAX:
            return max(values, default=None)
        case Aggregation.LATEST:
            newest = max(observations, key=lambda o: (o.occurred_at, o.partition, o.offset))
            return Fraction(newest.value)
        case Aggregation.UNIQUE:
            return Fraction(len({str(number.value) for number in observations}))


@st.composite
def observed(draw: st.DrawFn) -> list[Latest]:
    """Numbers at distinct places of the log, many at the same instant."""
    values = draw(st.lists(decimals(6, 6) | st.just(Decimal(7)), min_size=1, max_size=30))
    seconds = st.integers(0, 3)
    return [
        Latest(START + timedelta(seconds=draw(seconds)), offset % 3, offset, value)
        for offset, value in enumerate(values)
    ]


@given(aggregates)
def test_zero_changes_nothing(aggregate: Aggregate) -> None:
    assert merged(aggregate, Aggregate()) == merged(Aggregate(), aggregate) == aggregate


@given(aggregates, aggregates)
def test_merging_commutes(left: Aggregate, right: Aggregate) -> None:
    assert merged(left, right) == merged(right, left)


@given(aggregates, aggregates, aggregates)
def test_merging_associates(a: Aggregate, b: Aggregate, c: Aggregate) -> None:
    assert merged(merged(a, b), c) == merged(a, merged(b, c))


@pytest.mark.parametrize("aggregation", Aggregation)
@given(observations=observed(), data=st.data())
def test_any_order_and_batching_gives_the_quantity_by_hand(
    aggregation: Aggregation, observations: list[Latest], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(observations))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), max_size=5)))
    edges = [0, *cuts, len(shuffled)]
    batches = [shuffled[a:b] for a, b in pairwise(edges)]
    whole = merged(*(folded(aggregation, batch) for batch in batches))
    quantity = whole.quantity(aggregation)
    assert quantity is not None
    assert Fraction(quantity) == by_hand(aggregation, observations)
    assert whole == folded(aggregation, observations)


@pytest.mark.parametrize(
    ("aggregation", "nothing"),
    [
        (Aggregation.COUNT, Decimal(0)),
        (Aggregation.SUM, Decimal(0)),
        (Aggregation.MAX, None),
        (Aggregation.LATEST, None),
        (Aggregation.UNIQUE, Decimal(0)),
    ],
)
def test_the_quantity_of_nothing(aggregation: Aggregation, nothing: Decimal | None) -> None:
    assert Aggregate().quantity(aggregation) == nothing


def test_latest_goes_by_event_time_then_by_place_in_the_log() -> None:
    early = Latest(START, 2, 99, Decimal(1))
    tie_low = Latest(START + timedelta(seconds=1), 0, 7, Decimal(2))
    tie_high = Latest(START + timedelta(seconds=1), 1, 3, Decimal(3))
    for order in ([early, tie_low, tie_high], [tie_high, tie_low, early]):
        assert folded(Aggregation.LATEST, order).quantity(Aggregation.LATEST) == 3


def test_max_of_negative_numbers_is_negative() -> None:
    observations = [Latest(START, 0, n, Decimal(-n)) for n in (5, 3, 9)]
    assert folded(Aggregation.MAX, observations).quantity(Aggregation.MAX) == -3


def test_a_sum_keeps_every_digit() -> None:
    tiny, huge = Decimal("1e-38"), Decimal("9" * 38)
    observations = [Latest(START, 0, 0, huge), Latest(START, 0, 1, tiny)]
    total = folded(Aggregation.SUM, observations).quantity(Aggregation.SUM)
    assert str(total) == "9" * 38 + "." + "0" * 37 + "1"


@given(st.datetimes(datetime(1, 1, 2), datetime(9998, 12, 31)))  # noqa: DTZ001 (made aware below)
def test_an_hour_holds_its_start_and_not_its_end(naive: datetime) -> None:
    instant = naive.replace(tzinfo=UTC)
    start = hour_start(hour_of(instant))
    assert start <= instant < start + timedelta(hours=1)
    assert (start.minute, start.second, start.microsecond) == (0, 0, 0)


def test_a_long_distinct_value_is_counted_exactly_and_kept_short() -> None:
    long = [character * 1_000 for character in "abc"]
    kept = {distinct_text(text) for text in [*long, *long]}
    assert len(kept) == 3
    assert max(map(len, kept)) < 100
    assert distinct_text("x" * 256) == "x" * 256
    assert distinct_text("\xfc" * 129) != "\xfc" * 129
