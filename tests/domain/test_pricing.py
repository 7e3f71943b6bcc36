"""Prices against an oracle of fractions: tiers, conversion, and the order of arithmetic."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.money import USD_CENTS
from services.domain.plan import Charge, Plan, RoundingBehavior, Tier, UnitConversion
from services.domain.pricing.conversion import convert
from services.domain.pricing.invoice import PricedInvoice, price_invoice
from services.domain.pricing.tiers import graduated
from tests.domain.strategies import decimals

METRIC, OTHER = UUID(int=1), UUID(int=2)
GIGABYTE = [("0", "10"), ("100", "9"), ("1000", "8")]


def tiers_of(prices: list[tuple[str, str]]) -> tuple[Tier, ...]:
    return tuple(Tier(Decimal(start), Decimal(price)) for start, price in prices)


def charge(
    *prices: tuple[str, str],
    product: int = 1,
    metric: UUID = METRIC,
    conversion: UnitConversion | None = None,
) -> Charge:
    return Charge(
        UUID(int=9), "c", UUID(int=product), f"p{product}", metric, tiers_of([*prices]), conversion
    )


def priced(quantity: str, *charges: Charge) -> PricedInvoice:
    return price_invoice(Plan(UUID(int=3), "plan", USD_CENTS, charges), {METRIC: Decimal(quantity)})


def oracle(quantity: Fraction, tiers: tuple[Tier, ...]) -> Fraction:
    """Each unit at its tier's price: what lies between a tier's ends, tier by tier."""
    starts = [Fraction(tier.starts_after) for tier in tiers]
    amount = Fraction(0)
    for index, tier in enumerate(tiers):
        inside = max(Fraction(0), quantity - starts[index])
        if index + 1 < len(tiers):
            inside = min(inside, starts[index + 1] - starts[index])
        amount += inside * Fraction(tier.price)
    return amount


@st.composite
def tier_tables(draw: st.DrawFn) -> tuple[Tier, ...]:
    steps = draw(st.lists(decimals(6, 6).map(abs).filter(bool), max_size=5))
    starts = [Decimal(0)]
    for step in steps:
        starts.append(starts[-1] + step)
    return tuple(Tier(start, draw(decimals(6, 6))) for start in starts)


@given(tier_tables(), decimals(8, 8).map(abs))
def test_graduated_tiers_equal_the_oracle(tiers: tuple[Tier, ...], quantity: Decimal) -> None:
    lines = graduated(quantity, tiers)
    assert sum(Fraction(line.subtotal) for line in lines) == oracle(Fraction(quantity), tiers)
    assert sum(Fraction(line.quantity) for line in lines) == Fraction(quantity)
    assert [line.starts_after for line in lines] == [t.starts_after for t in tiers[: len(lines)]]


@given(tier_tables(), st.data())
def test_a_quantity_at_a_tiers_end_is_in_that_tier_and_beyond_it_in_the_next(
    tiers: tuple[Tier, ...], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(tiers) - 1))
    edge = tiers[index].starts_after
    assert len(graduated(edge, tiers)) == max(index, 1)
    beyond = graduated(edge + Decimal("1e-20"), tiers)
    assert len(beyond) == index + 1
    assert beyond[-1].quantity == Decimal("1e-20")


@pytest.mark.parametrize(
    ("quantity", "parts"),
    [
        ("0", ["0"]),
        ("100", ["100"]),
        ("100." + "0" * 37 + "1", ["100", "0." + "0" * 37 + "1"]),
        ("1000", ["100", "900"]),
        ("1500", ["100", "900", "500"]),
        ("-5", ["-5"]),  # a correction goes to the first tier
    ],
)
def test_the_edges_of_tiers(quantity: str, parts: list[str]) -> None:
    lines = graduated(Decimal(quantity), tiers_of(GIGABYTE))
    assert [line.quantity for line in lines] == [Decimal(part) for part in parts]


def test_1500_gigabytes_at_10_9_8_cents() -> None:
    invoice = priced("1500", charge(*GIGABYTE))
    assert [tier.subtotal for tier in invoice.lines[0].charges[0].tiers] == [1000, 8100, 4000]
    assert invoice.subtotal == invoice.total == 13_100


def test_1488_cpu_hours_as_in_metronomes_example() -> None:
    invoice = priced("1488", charge(("0", "10"), ("1000", "9")))
    [line] = invoice.lines
    tiers = line.charges[0].tiers
    assert [tier.quantity for tier in tiers] == [1000, 488]
    assert [tier.subtotal for tier in tiers] == [10_000, 4392]
    assert line.total == invoice.total == 14_392


def test_6000_bytes_at_a_hundredth_of_a_cent() -> None:
    assert priced("6000", charge(("0", "0.01"))).total == 60


@given(
    decimals(),
    decimals(12, 12).filter(bool),
    st.sampled_from([None, RoundingBehavior.FLOOR, RoundingBehavior.CEILING]),
)
def test_unit_conversion_equals_the_oracle(
    quantity: Decimal, factor: Decimal, rounding: RoundingBehavior | None
) -> None:
    converted = Fraction(convert(quantity, UnitConversion(factor, rounding)))
    exact = Fraction(quantity) / Fraction(factor)
    if rounding is RoundingBehavior.FLOOR:
        assert converted == floor(exact)
    elif rounding is RoundingBehavior.CEILING:
        assert converted == ceil(exact)
    else:
        places = Fraction(1, 10**20)
        assert converted % places == 0
        assert abs(converted - exact) <= places / 2


@pytest.mark.parametrize(
    ("quantity", "factor", "rounding", "expected"),
    [
        ("1500", "1000", None, "1.5"),
        ("1500", "1000", RoundingBehavior.FLOOR, "1"),
        ("1500", "1000", RoundingBehavior.CEILING, "2"),
        ("2000", "1000", RoundingBehavior.CEILING, "2"),
        ("-1500", "1000", RoundingBehavior.FLOOR, "-2"),
        ("-1500", "1000", RoundingBehavior.CEILING, "-1"),
        ("0", "1000", RoundingBehavior.CEILING, "0"),
        ("1", "3", None, "0.33333333333333333333"),
        ("2", "3", None, "0.66666666666666666667"),
        ("-2", "3", None, "-0.66666666666666666667"),
        ("5e-21", "1", None, "1e-20"),  # half away from zero
        ("-5e-21", "1", None, "-1e-20"),
        ("4e-21", "1", None, "0"),
        ("5", "0.001", None, "5000"),
    ],
)
def test_unit_conversion_examples(
    quantity: str, factor: str, rounding: RoundingBehavior | None, expected: str
) -> None:
    conversion = UnitConversion(Decimal(factor), rounding)
    assert convert(Decimal(quantity), conversion) == Decimal(expected)


def test_without_conversion_a_quantity_keeps_its_digits() -> None:
    assert convert(Decimal("1e-38"), None) == Decimal("1e-38")


def test_tiers_hold_for_the_converted_quantity() -> None:
    bytes_to_gigabytes = UnitConversion(Decimal(10**9))
    invoice = priced("1500000000000", charge(*GIGABYTE, conversion=bytes_to_gigabytes))
    assert invoice.total == 13_100


def test_charges_of_a_product_share_a_line_and_products_keep_their_order() -> None:
    invoice = priced(
        "10",
        charge(("0", "2"), product=2),
        charge(("0", "3"), product=1),
        charge(("0", "5"), product=2, metric=OTHER),
    )
    lines = [(line.product_name, len(line.charges), str(line.total)) for line in invoice.lines]
    assert lines == [("p2", 2, "20"), ("p1", 1, "30")]


def test_a_metric_without_usage_gives_a_charge_of_zero() -> None:
    invoice = priced("10", charge(*GIGABYTE, metric=OTHER))
    [line] = invoice.lines[0].charges
    assert line.quantity == line.subtotal == invoice.total == 0
    assert [tier.quantity for tier in line.tiers] == [0]


def test_a_plan_without_charges_gives_an_empty_invoice() -> None:
    assert priced("10") == PricedInvoice((), Decimal(0), Decimal(0), USD_CENTS, Decimal(0))


@given(st.lists(st.tuples(tier_tables(), st.sampled_from([1, 2])), max_size=4), decimals(8, 8))
def test_the_subtotal_is_the_exact_sum_of_all_tiers(
    tables: list[tuple[tuple[Tier, ...], int]], quantity: Decimal
) -> None:
    charges = [
        Charge(UUID(int=9), "c", UUID(int=product), "p", METRIC, tiers) for tiers, product in tables
    ]
    invoice = priced(str(abs(quantity)), *charges)
    expected = sum(oracle(Fraction(abs(quantity)), tiers) for tiers, _ in tables)
    assert Fraction(invoice.subtotal) == expected
    assert abs(Fraction(invoice.total) - expected) <= Fraction(1, 2)
