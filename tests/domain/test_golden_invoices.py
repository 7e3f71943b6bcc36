"""Documented examples, written out: what each invoice says, line by line."""

from copy import deepcopy
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from random import Random
from uuid import UUID

import pytest

from services.domain.aggregate import Aggregate, AggregateKey
from services.domain.catalog import Catalog
from services.domain.event import Event
from services.domain.meter import Aggregation, BillableMetric
from services.domain.money import USD_CENTS
from services.domain.number import text_of
from services.domain.plan import ChargeType, Minimum, Plan
from services.domain.pricing.invoice import PricedInvoice
from services.domain.pricing.reconcile import reconcile
from services.domain.pricing.tiers import graduated
from services.domain.pricing.usage import GroupValues, PeriodUsage
from services.domain.rating import rate
from tests.domain.plan_parts import METRIC, OTHER, PRODUCT, charge, plan, price, tiers_of, used, utc

HOURS = plan(charge(("0", "10"), ("1000", "9"), name="CPU hours", product_name="Cloud database"))


def written(invoice: PricedInvoice) -> list[str]:
    """The invoice as text, a line each."""
    shown = []
    for line in invoice.lines:
        shown.append(f"{line.product_name}: {text_of(line.total)}")
        for charged in line.charges:
            quantity, subtotal = text_of(charged.quantity), text_of(charged.subtotal)
            shown.append(f"  {charged.charge.name}: {quantity} = {subtotal}")
            shown += [
                f"    beyond {text_of(t.starts_after)}: {text_of(t.quantity)} x {text_of(t.price)}"
                f" = {text_of(t.subtotal)}"
                for t in charged.tiers
            ]
    shown += [f"{each.name}: {text_of(each.amount)}" for each in invoice.adjustments]
    return [*shown, f"total: {text_of(invoice.total)}"]


def test_1488_cpu_hours() -> None:
    """Metronome's example of a Plans invoice (METRONOME 3.8)."""
    invoice = price(HOURS, used("1488"))
    assert written(invoice) == [
        "Cloud database: 14392",
        "  CPU hours: 1488 = 14392",
        "    beyond 0: 1000 x 10 = 10000",
        "    beyond 1000: 488 x 9 = 4392",
        "total: 14392",
    ]


def test_the_seed_walk_through() -> None:
    """5,000 and 1,000 bytes at 0.01 cents are 60 cents (the walk-through shows dollars)."""
    metric = BillableMetric(METRIC, "bytes", Aggregation.SUM, "bytes")
    sent = [("1", "5000"), ("2", "1000")]
    events = [
        Event(name, "customer", "transfer", utc(2026, 11, 3), {"bytes": amount})
        for name, amount in sent
    ]
    [aggregate] = rate(0, range(2), events, Catalog(1, (metric,))).aggregates.values()
    quantity = aggregate.quantity(Aggregation.SUM)
    assert quantity is not None
    transfer = plan(charge(("0", "0.01"), name="bytes", product_name="transfer"))
    assert written(price(transfer, PeriodUsage({METRIC: quantity}))) == [
        "transfer: 60",
        "  bytes: 6000 = 60",
        "    beyond 0: 6000 x 0.01 = 60",
        "total: 60",
    ]


def test_tiers_of_the_seed_in_gigabytes() -> None:
    """0.10 a gigabyte for the first 100, 0.09 for the next 900, 0.08 beyond."""
    transfer = plan(charge(("0", "10"), ("100", "9"), ("1000", "8")))
    assert price(transfer, used("1500")).total == 1000 + 8100 + 4000


LATEST_VALUES = ["7", "9", "10", "5"]


def test_latest_bills_increments() -> None:
    """7, 9, 10, 5 over four days: 7, +2, +1, -5 (METRONOME 4.2). The days add up to the period, and
    what falls is given back at the price of the tier in which it stood."""
    values = [Decimal(0), *map(Decimal, LATEST_VALUES)]
    increments = [after - before for before, after in pairwise(values)]
    assert increments == [7, 2, 1, -5]
    tiers = tiers_of(("0", "100"), ("8", "50"))
    days = [
        sum(part.subtotal for part in graduated(increment, tiers, before))
        for before, increment in zip(values, increments, strict=False)
    ]
    assert days == [700, 100 + 50, 50, -(2 * 50 + 3 * 100)]
    whole = plan(charge(("0", "100"), ("8", "50")))
    assert price(whole, used("5")).total == sum(days) == 500


def test_a_fall_below_what_the_last_period_ended_with_is_given_back() -> None:
    """Last period ended at 10, this one at 5: -5, at the first price, for tiers begin anew."""
    assert price(plan(charge(("0", "100"), ("8", "50"))), used("-5")).total == -500
    running = plan(charge(("0", "100"), ("8", "50"), tier_reset_frequency=2))
    assert price(running, PeriodUsage({METRIC: Decimal(-5)}, {}, (used("10"),)), 1).total == -400


def everything() -> Plan:
    return plan(
        charge(("0", "10"), ("100", "9"), name="requests", product_name="API"),
        charge(
            ("0", "5"), number=2, name="storage", group_key=("region",), product_name="Storage",
            product_id=UUID(int=12),
        ),
        charge(
            ("0", "2500"), number=3, name="base fee", charge_type=ChargeType.FIXED,
            product_name="API",
        ),
        charge(
            ("0", "0.05"), number=4, name="support", charge_type=ChargeType.COMPOSITE,
            product_name="Support", product_id=UUID(int=13), base_product_ids=(PRODUCT,),
        ),
        minimums=(Minimum("Monthly minimum ($100)", Decimal(10_000), USD_CENTS),),
    )  # fmt: skip


def test_an_invoice_with_everything() -> None:
    invoice = price(everything(), used("150.5", eu="20", us="3.333"))
    assert reconcile(everything(), invoice) == []
    assert written(invoice) == [
        "API: 3954.5",
        "  requests: 150.5 = 1454.5",
        "    beyond 0: 100 x 10 = 1000",
        "    beyond 100: 50.5 x 9 = 454.5",
        "  base fee: 1 = 2500",
        "    beyond 0: 1 x 2500 = 2500",
        "Storage: 100",
        "  storage: 20 = 100",
        "    beyond 0: 20 x 5 = 100",
        "Storage: 16.665",
        "  storage: 3.333 = 16.665",
        "    beyond 0: 3.333 x 5 = 16.665",
        "Support: 197.725",
        "  support: 3954.5 = 197.725",
        "    beyond 0: 3954.5 x 0.05 = 197.725",
        "Monthly minimum ($100): 5731.11",
        "total: 10000",
    ]


def priced_in_batches(events: list[tuple[int, Event]], random: Random) -> str:
    """The invoice of events that are rated in random batches, merged in any order."""
    metrics = tuple(
        BillableMetric(metric_id, "v", aggregation, "v", group_keys=(("region",),))
        for metric_id, aggregation in ((METRIC, Aggregation.SUM), (OTHER, Aggregation.LATEST))
    )
    random.shuffle(events)
    found: list[tuple[AggregateKey, Aggregate]] = []
    while events:
        size = random.randint(1, len(events))
        offsets, batch = zip(*events[:size], strict=True)
        events = events[size:]
        found += rate(0, offsets, batch, Catalog(1, metrics)).aggregates.items()
    random.shuffle(found)
    whole: dict[tuple[UUID, GroupValues], Aggregate] = {}
    for key, aggregate in found:
        for group in ((), key.group):
            whole.setdefault((key.metric_id, group), Aggregate()).merge(deepcopy(aggregate))
    usage = PeriodUsage(
        {m.id: whole[m.id, ()].quantity(m.aggregation) or Decimal(0) for m in metrics},
        {
            (m.id, ("region",)): {
                group: aggregate.quantity(m.aggregation) or Decimal(0)
                for (metric_id, group), aggregate in whole.items()
                if metric_id == m.id and group
            }
            for m in metrics
        },
    )
    last = charge(("0", "3"), ("5", "2"), number=9, metric_id=OTHER, group_key=("region",))
    return "\n".join(written(price(plan(*everything().charges, last), usage)))


@pytest.mark.parametrize("seed", range(20))
def test_order_and_batching_of_events_do_not_change_a_byte(seed: int) -> None:
    """Shuffled, split and merged in any way, the same events give the same invoice."""
    random = Random(seed)
    events = []
    for offset in range(random.randint(1, 40)):
        at = utc(2026, 11) + timedelta(hours=random.randint(0, 9))
        value = text_of(Decimal(random.randint(-(10**9), 10**9)).scaleb(-7))
        region = {"region": random.choice(("eu", "us"))} if random.random() < 0.9 else {}
        event = Event(str(offset), "customer", "transfer", at, {"v": value, **region})
        events.append((offset, event))
    assert len({priced_in_batches(list(events), random) for _ in range(4)}) == 1
