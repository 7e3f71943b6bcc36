"""Every kind of charge by itself: blocks, flat fees and days, percentages, minimums, groups, and
tiers that run on over several periods.
"""

from decimal import Decimal
from uuid import UUID

import pytest

from services.domain.period import Period
from services.domain.plan import ChargeType, RoundingBehavior, Tiering, UnitConversion
from services.domain.pricing.charge import periods_needed
from services.domain.pricing.invoice import price_invoice, price_period
from services.domain.pricing.usage import GroupValues, PeriodUsage
from services.domain.schedule import BilledPeriod
from tests.domain.plan_parts import (
    METRIC,
    NOVEMBER,
    OTHER,
    PRODUCT,
    billed,
    charge,
    plan,
    price,
    used,
    utc,
)

SUPPORT = UUID(int=12)


@pytest.mark.parametrize(
    ("quantity", "blocks"),
    [("0", 0), ("1", 1), ("10", 1), ("10.001", 2), ("25", 3), ("-5", 0), ("-10", -1), ("-15", -1)],
)
def test_a_package_has_a_price_for_every_started_block(quantity: str, blocks: int) -> None:
    invoice = price(plan(charge(("0", "7"), package_size=Decimal(10))), used(quantity))
    assert invoice.lines[0].charges[0].quantity == blocks
    assert invoice.subtotal == 7 * blocks


def test_tiers_of_a_package_count_blocks_of_converted_units() -> None:
    packaged = charge(
        ("0", "100"),
        ("2", "50"),
        package_size=Decimal(10),
        unit_conversion=UnitConversion(Decimal(1000), RoundingBehavior.CEILING),
    )
    invoice = price(plan(packaged), used("20001"))  # 21 thousands, 3 blocks
    assert [t.quantity for t in invoice.lines[0].charges[0].tiers] == [2, 1]
    assert invoice.total == 250


def test_volume_prices_all_units_by_the_highest_tier_reached() -> None:
    by_volume = charge(("0", "10"), ("100", "9"), ("1000", "8"), tiering=Tiering.VOLUME)
    assert price(plan(by_volume), used("1500")).total == 12_000
    assert price(plan(by_volume), used("100")).total == 1_000


FEE = charge(("0", "3000"), charge_type=ChargeType.FIXED)


@pytest.mark.parametrize(
    ("days", "subtotal", "total"),
    [
        (30, "3000", 3000),
        (15, "1500", 1500),
        (10, "1000", 1000),
        (1, "100", 100),
    ],
)
def test_a_flat_fee_is_prorated_by_day(days: int, subtotal: str, total: int) -> None:
    held = Period(NOVEMBER.start, utc(2026, 11, days + 1) if days < 30 else NOVEMBER.end)
    invoice = price_period(plan(FEE), PeriodUsage({}), billed(held=held))
    assert invoice.subtotal == Decimal(subtotal)
    assert invoice.total == total


def test_the_share_is_of_the_days_that_the_period_has() -> None:
    december = Period(utc(2026, 12), utc(2027, 1))
    ten_days = BilledPeriod(Period(utc(2026, 12), utc(2026, 12, 11)), december, 0)
    fee = charge(("0", "3100"), charge_type=ChargeType.FIXED)
    assert price_period(plan(fee), PeriodUsage({}), ten_days).total == 1000


def test_tiers_of_a_flat_fee_are_of_the_whole_quantity() -> None:
    """15 seats, 10 at 500 and 5 at 400: for half a month half of that, not 7.5 seats at 500."""
    seats = charge(("0", "500"), ("10", "400"), charge_type=ChargeType.FIXED, quantity=Decimal(15))
    held = Period(NOVEMBER.start, utc(2026, 11, 16))
    invoice = price_period(plan(seats), PeriodUsage({}), billed(held=held))
    assert invoice.total == 3500
    assert [t.quantity for t in invoice.lines[0].charges[0].tiers] == [5, Decimal("2.5")]


def test_usage_is_not_prorated() -> None:
    held = Period(NOVEMBER.start, utc(2026, 11, 16))
    assert price_period(plan(charge(("0", "3"))), used("10"), billed(held=held)).total == 30


def test_a_composite_is_a_share_of_the_usage_and_fixed_charges() -> None:
    support = charge(("0", "0.05"), number=3, charge_type=ChargeType.COMPOSITE, product_id=SUPPORT)
    invoice = price(plan(charge(("0", "3")), FEE, support), used("1000"))
    assert [line.total for line in invoice.lines] == [6000, 300]
    [line] = invoice.lines[1].charges
    assert line.quantity == 6000
    assert line.tiers[0].price == Decimal("0.05")


@pytest.mark.parametrize(
    ("named", "total"),
    [
        ({"base_charge_ids": (UUID(int=101),)}, 300),
        ({"base_charge_ids": (UUID(int=102),)}, 100),
        ({"base_product_ids": (PRODUCT,)}, 300),
        ({"base_product_ids": (PRODUCT,), "base_charge_ids": (UUID(int=102),)}, 400),
    ],
)
def test_a_composite_looks_at_what_it_names(named: dict[str, object], total: int) -> None:
    one = charge(("0", "3"))
    two = charge(("0", "1"), number=2, product_id=UUID(int=13))
    tenth = charge(
        ("0", "0.1"), number=3, charge_type=ChargeType.COMPOSITE, product_id=SUPPORT, **named
    )
    assert price(plan(one, two, tenth), used("1000")).lines[-1].total == total


def test_a_tiered_composite_is_tiered_by_spend() -> None:
    support = charge(
        ("0", "0.10"), ("10000", "0.05"), charge_type=ChargeType.COMPOSITE, product_id=SUPPORT
    )
    assert price(plan(charge(("0", "1")), support), used("30000")).lines[1].total == 2000


@pytest.mark.parametrize(("quantity", "lacking"), [("0", 500), ("499", 1), ("500", 0), ("900", 0)])
def test_a_minimum_charge_is_what_its_product_lacks(quantity: str, lacking: int) -> None:
    least = charge(("0", "500"), number=2, charge_type=ChargeType.MINIMUM)
    elsewhere = charge(("0", "9"), number=3, product_id=UUID(int=13))
    invoice = price(plan(least, charge(("0", "1")), elsewhere), used(quantity))
    assert invoice.lines[0].charges[0].subtotal == lacking
    assert invoice.lines[0].total == max(500, int(quantity))


def test_a_minimum_may_look_at_a_composite() -> None:
    """10 % of the spend, at least 500 (Metronome, "Composite charges")."""
    share = charge(("0", "0.1"), number=2, charge_type=ChargeType.COMPOSITE, product_id=SUPPORT)
    least = charge(("0", "500"), number=3, charge_type=ChargeType.MINIMUM, product_id=SUPPORT)
    priced = plan(charge(("0", "1")), least, share)
    assert price(priced, used("1000")).lines[1].total == 500
    assert price(priced, used("9000")).lines[1].total == 900


GROUPED = charge(("0", "10"), ("100", "9"), group_key=("region",))


def test_each_group_has_its_own_line_and_tiers() -> None:
    invoice = price(plan(GROUPED), used("999", us="150", eu="60"))
    assert [line.group_values for line in invoice.lines] == [("eu",), ("us",)]
    assert [line.total for line in invoice.lines] == [600, 1450]
    assert [line.group_key for line in invoice.lines] == [("region",), ("region",)]
    assert invoice.total == 2050


def test_a_group_without_the_property_comes_first_and_is_not_the_empty_text() -> None:
    values: dict[GroupValues, Decimal] = {
        ("",): Decimal(1),
        (None,): Decimal(2),
        ("a",): Decimal(3),
    }
    usage = PeriodUsage({}, {(METRIC, ("region",)): values})
    lines = price(plan(GROUPED), usage).lines
    assert [line.group_values for line in lines] == [(None,), ("",), ("a",)]


def test_without_usage_a_grouped_charge_has_no_line() -> None:
    assert price(plan(GROUPED), PeriodUsage({})).lines == ()


def test_charges_of_a_product_share_the_lines_of_their_groups_and_the_rest_has_its_own() -> None:
    priced = plan(GROUPED, charge(("0", "1"), number=2, group_key=("region",)), FEE)
    invoice = price(priced, used("0", eu="5", us="6"))
    assert [line.group_values for line in invoice.lines] == [(), ("eu",), ("us",)]
    assert [len(line.charges) for line in invoice.lines] == [1, 2, 2]
    assert [line.total for line in invoice.lines] == [3000, 55, 66]


def test_a_composite_counts_every_group() -> None:
    share = charge(("0", "0.1"), number=2, charge_type=ChargeType.COMPOSITE, product_id=SUPPORT)
    assert price(plan(GROUPED, share), used("0", eu="50", us="50")).lines[-1].total == 100


def test_many_groups_are_priced_one_by_one() -> None:
    values: dict[GroupValues, Decimal] = {(f"region-{n:04}",): Decimal(n) for n in range(2000)}
    invoice = price(plan(GROUPED), PeriodUsage({}, {(METRIC, ("region",)): values}))
    assert len(invoice.lines) == 2000
    assert invoice.total == sum(10 * min(n, 100) + 9 * max(n - 100, 0) for n in range(2000))


YEARLY = charge(("0", "10"), ("100", "9"), tier_reset_frequency=3)


def windowed(*quantities: str) -> PeriodUsage:
    *before, last = (used(quantity) for quantity in quantities)
    return PeriodUsage(last.quantities, last.groups, tuple(before))


@pytest.mark.parametrize(
    ("number", "usage", "total"),
    [
        (0, windowed("60"), 600),
        (1, windowed("60", "60"), 40 * 10 + 20 * 9),
        (2, windowed("60", "60", "60"), 60 * 9),
        (3, windowed("60", "60", "60", "60"), 600),  # the tiers begin again
        (4, windowed("1", "2", "3", "60", "60"), 40 * 10 + 20 * 9),  # on from the one before it
    ],
)
def test_tiers_run_on_over_the_periods_of_a_window(
    number: int, usage: PeriodUsage, total: int
) -> None:
    assert price(plan(YEARLY), usage, number).total == total
    assert periods_needed(plan(YEARLY), number) == number % 3


def test_tiers_of_a_group_run_on_by_themselves() -> None:
    grouped = charge(("0", "10"), ("100", "9"), tier_reset_frequency=2, group_key=("region",))
    usage = PeriodUsage({}, used("0", eu="60", us="1").groups, (used("0", eu="90"),))
    assert [line.total for line in price(plan(grouped), usage, 1).lines] == [550, 10]


def test_each_period_of_a_window_was_rounded_by_itself() -> None:
    """1.5 thousand twice were two and two started thousands, as the invoices say, not three."""
    rounded_up = charge(
        ("0", "10"),
        ("4", "1"),
        tier_reset_frequency=3,
        unit_conversion=UnitConversion(Decimal(1000), RoundingBehavior.CEILING),
    )
    assert price(plan(rounded_up), windowed("1500", "1500", "1500"), 2).total == 1 + 1


def test_a_window_without_its_earlier_periods_is_refused() -> None:
    with pytest.raises(AssertionError, match="earlier periods are needed"):
        price(plan(YEARLY), used("60"), 1)


def test_a_metric_is_priced_for_each_charge_that_has_it() -> None:
    priced = plan(charge(("0", "2")), charge(("0", "3"), number=2, metric_id=OTHER))
    assert price_invoice(priced, {METRIC: Decimal(5), OTHER: Decimal(7)}).total == 31
