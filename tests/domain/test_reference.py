"""The oracle against the domain's own rating, verdicts and prices, and its rules by themselves."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.catalog import Catalog
from services.domain.event import Event
from services.domain.meter import Aggregation, BillableMetric
from services.domain.money import CreditType
from services.domain.plan import Charge, Plan, RoundingBehavior, Tier, UnitConversion
from services.domain.pricing.invoice import price_invoice
from services.domain.rating import rate
from services.domain.reference.bill import (
    Bounds,
    Span,
    bill_of,
    days_used,
    held_by,
    periods_of,
    quantity_of,
)
from services.domain.reference.event_json import read_event
from services.domain.reference.fold import HOUR_MS, PartitionFold, RawRecord, fold
from services.domain.reference.usage import EPOCH, Amount, Last, Usage, UsageKey
from services.domain.schedule import BillingCycle, BillingFrequency, Schedule
from services.runtime.events import WireEvent, check_event
from tests.domain.raw_records import INSTANTS, Posted, events, logs, written_event
from tests.domain.reference_cases import EVERY_KIND, as_usage, metric_sets
from tests.domain.strategies import decimals
from tests.domain.test_pricing import tier_tables

DAY = 24
NOON = INSTANTS[0]
UNIT = CreditType(UUID(int=5), "unit", 2)


def folded(*posts: tuple[int, Posted]) -> tuple[list[str], PartitionFold]:
    """The fates of records (hours since the one before, record), all on one partition."""
    oracle = PartitionFold(0, 1, lambda _: EVERY_KIND, {})
    hour, records = 0, []
    for offset, (later, post) in enumerate(posts):
        hour += later
        records.append(RawRecord(offset, hour * HOUR_MS, post.key, post.value))
    return [fate.kind for _, fate in fold(oracle, records)], oracle


def sent(name: str, amount: str = "1") -> Posted:
    """One sound event."""
    return Posted(name, written_event(name, NOON, {"bytes": amount}))


@given(st.lists(events, max_size=30), metric_sets)
def test_the_oracle_rates_as_the_domain_does(
    written: list[bytes], metrics: tuple[BillableMetric, ...]
) -> None:
    oracle = PartitionFold(3, 8, lambda _: metrics, {})
    found: list[tuple[int, WireEvent]] = []
    for offset, content in enumerate(written):
        event = check_event(content.strip())
        if isinstance(event, WireEvent):
            found.append((offset, event))
            oracle.take_unique(offset, content)
    offsets, parsed = [offset for offset, _ in found], [event for _, event in found]
    rated = rate(3, offsets, parsed, Catalog(1, metrics))
    assert oracle.usage == as_usage(rated.aggregates)
    assert oracle.totals.counted == rated.counted
    assert oracle.totals.rejected == rated.rejected
    assert oracle.totals.unmatched == rated.unmatched
    assert oracle.totals.refusals == len(rated.rejections)


@pytest.mark.parametrize(
    ("hours", "fate"),
    [(1, "duplicate"), (33 * DAY, "duplicate"), (34 * DAY, "duplicate"), (34 * DAY + 1, "counted")],
)
def test_an_id_is_remembered_34_days_by_whole_hours_of_the_log(hours: int, fate: str) -> None:
    fates, _ = folded((0, sent("a")), (hours, sent("a")))
    assert fates == ["counted", fate]


def test_after_it_was_forgotten_an_id_is_remembered_from_its_new_sighting() -> None:
    fates, _ = folded(
        (0, sent("a")), (35 * DAY, sent("a", "2")), (DAY, sent("a", "2")), (DAY, sent("a"))
    )
    assert fates == ["counted", "counted", "duplicate", "conflict"]


def test_junk_does_not_shadow_an_event() -> None:
    fates, oracle = folded(
        (0, Posted("a", b"{")),
        (0, Posted("a", sent("a").value, own_key=False)),
        (0, sent("a")),
        (0, sent("a")),
        (0, sent("a", "2")),
    )
    assert fates == ["rejected", "rejected", "counted", "duplicate", "conflict"]
    assert (oracle.totals.duplicates, oracle.totals.conflicts, oracle.totals.refusals) == (2, 1, 2)


@given(logs())
def test_every_offset_has_one_fate_and_the_totals_add_up(log: list[tuple[int, Posted]]) -> None:
    fates, oracle = folded(*log)
    totals = oracle.totals
    assert len(fates) == totals.counted + totals.duplicates + totals.rejected == len(log)
    assert totals.conflicts <= totals.duplicates
    assert totals.unmatched <= totals.counted


conversions = st.none() | st.builds(
    UnitConversion,
    decimals(6, 6).map(abs).filter(bool),
    st.sampled_from([None, *RoundingBehavior]),
)
charges = st.builds(
    Charge,
    id=st.integers(1, 9).map(lambda n: UUID(int=n)),
    name=st.just("c"),
    product_id=st.sampled_from([UUID(int=1), UUID(int=2)]),
    product_name=st.just("p"),
    metric_id=st.sampled_from([UUID(int=1), UUID(int=2), UUID(int=3)]),
    tiers=tier_tables(),
    unit_conversion=conversions,
)
plans = st.builds(
    Plan,
    id=st.just(UUID(int=4)),
    name=st.just("plan"),
    unit=st.integers(0, 4).map(lambda places: CreditType(UUID(int=5), "unit", places)),
    charges=st.lists(charges, max_size=4).map(tuple),
)


@given(plans, decimals(12, 12), decimals(38, 38))
def test_the_oracle_prices_as_the_domain_does(plan: Plan, one: Decimal, two: Decimal) -> None:
    priced = price_invoice(plan, {UUID(int=1): one, UUID(int=2): two})
    bill = bill_of(plan, {UUID(int=1): Fraction(one), UUID(int=2): Fraction(two)})
    assert (bill.subtotal, bill.total) == (Fraction(priced.subtotal), Fraction(priced.total))
    assert [(line.product_id, Fraction(line.total)) for line in priced.lines] == [
        (line.product_id, line.total) for line in bill.lines
    ]
    found = [charge for line in priced.lines for charge in line.charges]
    wanted = [charge for line in bill.lines for charge in line.charges]
    for mine, theirs in zip(wanted, found, strict=True):
        assert mine.charge_id == theirs.charge.id
        assert (mine.quantity, mine.subtotal) == (
            Fraction(theirs.quantity),
            Fraction(theirs.subtotal),
        )
        parts = [
            tuple(map(Fraction, (t.starts_after, t.quantity, t.price, t.subtotal)))
            for t in theirs.tiers
        ]
        assert [tuple(tier) for tier in mine.tiers] == parts


days = st.integers(0, 800).map(lambda n: datetime(2025, 12, 1, tzinfo=UTC) + timedelta(days=n))


kinds = st.tuples(
    st.sampled_from(BillingFrequency), st.sampled_from(BillingCycle), st.sampled_from([0, 0, 20])
)


@given(days, days, st.none() | days, kinds)
def test_the_periods_of_a_span_are_those_of_its_schedule(
    until: datetime,
    begins: datetime,
    ends: datetime | None,
    kind: tuple[BillingFrequency, BillingCycle, int],
) -> None:
    frequency, cycle, trial_days = kind
    ends = None if ends is None or ends <= begins else ends
    plan = Plan(UUID(int=4), "p", UNIT, (), frequency, cycle)
    span = Span(UUID(int=1), frozenset("a"), plan, begins, ends, trial_days=trial_days)
    schedule = Schedule(frequency, cycle, begins, ends, trial_days)
    limit = until + timedelta(microseconds=1) if ends is None else ends
    assert [
        (each.start, each.end, each.days_whole, each.number, each.trial)
        for each in periods_of(span, until)
    ] == [
        (each.held.start, each.held.end, each.days_whole, each.number, each.trial)
        for each in schedule.periods(begins, limit)
    ]


def amounts(**last: int) -> Usage:
    """LATEST and MAX values by hours since the epoch ("h5"), as two references."""
    usage: Usage = {}
    for number, (name, value) in enumerate(last.items()):
        hour = int(name[1:])
        key = UsageKey("ab"[number % 2], UUID(int=1), (), hour)
        at = EPOCH + timedelta(hours=hour)
        usage[key] = Amount(
            1, Fraction(value), Fraction(value), Last(at, 0, number, Fraction(value)), {str(value)}
        )
    return usage


PERIOD = Bounds(EPOCH + timedelta(hours=2), EPOCH + timedelta(hours=4))


@pytest.mark.parametrize(
    ("usage", "aggregation", "quantity"),
    [
        (amounts(h1=7, h2=10, h3=12, h4=50), Aggregation.LATEST, 5),
        (amounts(h2=10), Aggregation.LATEST, 10),
        (amounts(h1=7, h4=50), Aggregation.LATEST, 0),
        (amounts(h3=1, h1=7), Aggregation.LATEST, -6),
        (amounts(h1=70, h2=-3, h3=-5, h4=50), Aggregation.MAX, -3),
        (amounts(h1=70), Aggregation.MAX, 0),
        (amounts(h1=1, h2=2, h3=3, h4=4), Aggregation.SUM, 5),
        (amounts(h1=1, h2=2, h3=3, h4=4), Aggregation.COUNT, 2),
        (amounts(h1=1, h2=2, h3=2, h4=4), Aggregation.UNIQUE, 1),
    ],
)
def test_the_quantity_of_a_period(usage: Usage, aggregation: Aggregation, quantity: int) -> None:
    metric = (UUID(int=1), aggregation)
    assert quantity_of(held_by(usage), ["a", "b"], metric, PERIOD) == quantity
    assert quantity_of(held_by(usage), ["nobody"], metric, PERIOD) == 0


def test_the_days_used_are_those_of_the_events() -> None:
    event = read_event(written_event("1", "2026-11-30T23:59:59.9999995Z", {}))
    assert isinstance(event, Event)
    hour = (event.timestamp - EPOCH) // timedelta(hours=1)
    usage: Usage = {UsageKey("a", UUID(int=1), (), hour): Amount(1)}
    assert days_used(usage) == {"a": {datetime(2026, 11, 30, tzinfo=UTC)}}


@pytest.mark.parametrize(("price", "total"), [("0.005", 1), ("-0.005", -1), ("0.00499", 0)])
def test_the_total_is_rounded_once_half_away_from_zero(price: str, total: int) -> None:
    charge = Charge(
        UUID(int=1), "c", UUID(int=1), "p", UUID(int=1), (Tier(Decimal(0), Decimal(price)),)
    )
    bill = bill_of(Plan(UUID(int=4), "p", UNIT, (charge,)), {UUID(int=1): Fraction(1)})
    assert bill.total == Fraction(total, 100)
    assert bill.subtotal == Fraction(price)
