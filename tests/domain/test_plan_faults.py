"""A plan that contradicts itself: every fault is found and names its field."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.domain.meter import Aggregation, BillableMetric
from services.domain.money import USD_CENTS, CreditType
from services.domain.plan import (
    Charge,
    ChargeType,
    Minimum,
    OverageRate,
    Plan,
    PlanCreditGrant,
    Tiering,
    UnitConversion,
)
from services.domain.plan_faults import plan_faults
from tests.domain.plan_parts import METRIC, PRODUCT, TOKENS, charge, plan

EUROS = CreditType(UUID(int=71), "EUR", 2)
ZERO, MINUS = Decimal(0), Decimal(-1)
METRICS = {
    METRIC: BillableMetric(
        METRIC, "bytes", Aggregation.SUM, "bytes", group_keys=(("region",), ("zone", "user"))
    )
}


def fields(faulty: Plan) -> list[str]:
    """Where the faults are; each has a reason."""
    found = plan_faults(faulty, METRICS)
    assert all(fault.reason for fault in found)
    return [fault.field for fault in found]


def fixed(**says: Any) -> Charge:
    return charge(number=2, charge_type=ChargeType.FIXED, **says)


def composite(**says: Any) -> Charge:
    return charge(number=3, charge_type=ChargeType.COMPOSITE, **says)


def minimum(*prices: tuple[str, str], **says: Any) -> Charge:
    return charge(*prices, number=4, charge_type=ChargeType.MINIMUM, **says)


SOUND = plan(
    charge(
        ("0", "10"),
        ("100", "0"),
        unit_conversion=UnitConversion(Decimal("0.5")),
        package_size=Decimal("0.5"),
        tier_reset_frequency=12,
        group_key=("user",),
        tiering=Tiering.VOLUME,
    ),
    fixed(quantity=ZERO),
    composite(base_charge_ids=(UUID(int=101),), base_product_ids=(PRODUCT,)),
    minimum(),
    charge(number=5, name="c1", start_period=3, group_key=("user", "zone")),
    unit=TOKENS,
    minimums=(
        Minimum("m", Decimal(5), TOKENS),
        Minimum("m", Decimal(5), TOKENS, 2),
        Minimum("m", Decimal(5), USD_CENTS),
    ),
    overage_rates=(
        OverageRate(TOKENS, USD_CENTS, Decimal(5)),
        OverageRate(TOKENS, USD_CENTS, Decimal(6), 2),
    ),
    credit_grants=(
        PlanCreditGrant("g", Decimal(5), TOKENS, ZERO, USD_CENTS, 1, Decimal("0.5")),
        PlanCreditGrant(
            "g", Decimal(5), TOKENS, ZERO, USD_CENTS, 1, Decimal(1),
            recurrence_interval=1, recurrence_duration=12,
        ),
    ),
)  # fmt: skip


def test_a_sound_plan_has_no_faults() -> None:
    assert plan_faults(SOUND, METRICS) == []


@pytest.mark.parametrize(
    ("faulty", "field"),
    [
        (charge(("1", "5")), "prices[0].tier"),
        (charge(("0", "5"), ("10", "4"), ("10", "3")), "prices[2].tier"),
        (charge(("0", "5"), ("10", "4"), ("5", "3")), "prices[2].tier"),
        (charge(("0", "5"), ("10", "-4")), "prices[1].value"),
        (charge(tiers=()), "prices"),
        (charge(metric_id=None), "billable_metric_id"),
        (charge(metric_id=UUID(int=77)), "billable_metric_id"),
        (charge(group_key=("country",)), "group_key"),
        (charge(group_key=("region", "zone")), "group_key"),  # not in one key
        (charge(group_key=("region", "region")), "group_key"),
        (charge(package_size=ZERO), "package_size"),
        (charge(package_size=MINUS), "package_size"),
        (charge(unit_conversion=UnitConversion(ZERO)), "unit_conversion.division_factor"),
        (charge(unit_conversion=UnitConversion(MINUS)), "unit_conversion.division_factor"),
        (charge(tier_reset_frequency=0), "tier_reset_frequency"),
        (charge(start_period=-1), "start_period"),
        (charge(quantity=Decimal(2)), "quantity"),
        (charge(base_charge_ids=(UUID(int=101),)), "base_charge_ids"),
        (charge(base_product_ids=(PRODUCT,)), "base_product_ids"),
        (fixed(quantity=MINUS), "quantity"),
        (fixed(metric_id=METRIC), "billable_metric_id"),
        (fixed(package_size=Decimal(1)), "package_size"),
        (fixed(unit_conversion=UnitConversion(Decimal(1))), "unit_conversion"),
        (fixed(tier_reset_frequency=2), "tier_reset_frequency"),
        (fixed(group_key=("region",)), "group_key"),
        (composite(quantity=Decimal(2)), "quantity"),
        (composite(base_product_ids=(PRODUCT, UUID(int=77))), "base_product_ids[1]"),
        (composite(base_charge_ids=(UUID(int=101), UUID(int=77))), "base_charge_ids[1]"),
        (composite(base_charge_ids=(UUID(int=103),)), "base_charge_ids[0]"),  # itself
        (minimum(("0", "5"), ("10", "4")), "prices[1]"),
        (minimum(tiering=Tiering.VOLUME), "tiering"),
        (minimum(product_id=UUID(int=12)), "charge_type"),  # nothing else in its product
        (charge(number=9, name="c7"), "start_period"),  # see below
    ],
)
def test_a_fault_of_a_charge_names_its_field(faulty: Charge, field: str) -> None:
    """Beside sound charges, of which two are a ramp."""
    beside = (
        charge(number=1, name="c6"),
        charge(number=7),
        charge(number=8, name="c7", start_period=4),
    )
    assert fields(plan(*beside, faulty)) == [f"charges[3].{field}"]


APART = UUID(int=12)  # a product beside PRODUCT


@pytest.mark.parametrize(
    ("looking", "field"),
    [
        (composite(base_charge_ids=(UUID(int=101), UUID(int=108))), "base_charge_ids[1]"),
        (composite(base_charge_ids=(UUID(int=109), UUID(int=101))), "base_charge_ids[0]"),
        (composite(base_product_ids=(PRODUCT, APART)), "base_product_ids[1]"),
        (composite(base_product_ids=(APART,)), "base_product_ids[0]"),
        (minimum(base_charge_ids=(UUID(int=101), UUID(int=109))), "base_charge_ids[1]"),
        # A minimum looks at composites, a product with a charge for it may have others beside.
        (minimum(base_charge_ids=(UUID(int=108),)), None),
        (minimum(base_product_ids=(APART, PRODUCT)), None),
        (composite(base_product_ids=(PRODUCT,)), None),
    ],
)
def test_a_base_that_would_be_passed_over_is_named(looking: Charge, field: str | None) -> None:
    """Beside a usage charge, a composite and a minimum of another product, and one of its own."""
    beside = (
        charge(),
        replace(composite(product_id=APART), id=UUID(int=108), name="c8"),
        replace(minimum(product_id=APART), id=UUID(int=109), name="c9"),
        replace(minimum(), id=UUID(int=110), name="c10"),
    )
    faults = plan_faults(plan(*beside, looking), METRICS)
    assert [fault.field for fault in faults] == ([f"charges[4].{field}"] if field else [])
    assert all("name a" in fault.reason for fault in faults)


def test_a_minimum_of_a_product_with_minimums_alone_has_nothing_to_look_at() -> None:
    first = minimum(product_id=APART)
    second = replace(first, id=UUID(int=109), name="x", base_product_ids=(APART,))
    assert fields(plan(charge(), first, second)) == [
        "charges[1].charge_type",
        "charges[2].base_product_ids[0]",
    ]


def test_charges_of_one_name_are_only_a_ramp_when_one_begins_later() -> None:
    assert fields(plan(charge(name="x"), charge(number=2, name="x"))) == []
    assert (
        fields(
            plan(
                charge(name="x"),
                charge(number=2, name="x", product_id=UUID(int=12), start_period=1),
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("faulty", "field"),
    [
        (Minimum("m", MINUS, USD_CENTS, 3), "value"),
        (Minimum("m", Decimal(1), EUROS), "credit_type_id"),
        (Minimum("m", Decimal(1), USD_CENTS, -1), "start_period"),
        (Minimum("m", Decimal(1), USD_CENTS), "start_period"),  # the same step twice
    ],
)
def test_a_fault_of_a_minimum_names_its_field(faulty: Minimum, field: str) -> None:
    both = plan(charge(), minimums=(Minimum("m", Decimal(1), USD_CENTS), faulty))
    assert fields(both) == [f"minimums[1].{field}"]


@pytest.mark.parametrize(
    ("faulty", "field"),
    [
        (OverageRate(USD_CENTS, EUROS, Decimal(1), 3), "credit_type_id"),
        (OverageRate(TOKENS, TOKENS, Decimal(1), 3), "fiat_credit_type_id"),
        (OverageRate(TOKENS, EUROS, ZERO, 3), "to_fiat_conversion_factor"),
        (OverageRate(TOKENS, EUROS, Decimal(1), -3), "start_period"),
        (OverageRate(TOKENS, EUROS, Decimal(1)), "start_period"),
    ],
)
def test_a_fault_of_an_overage_rate_names_its_field(faulty: OverageRate, field: str) -> None:
    rates = (OverageRate(TOKENS, USD_CENTS, Decimal(1)), faulty)
    assert fields(plan(charge(), unit=TOKENS, overage_rates=rates)) == [f"overage_rates[1].{field}"]


def test_a_currency_needs_no_overage_rate() -> None:
    rates = (OverageRate(USD_CENTS, EUROS, Decimal(1)),)
    assert fields(plan(charge(), overage_rates=rates)) == ["overage_rates[0].credit_type_id"]


@pytest.mark.parametrize(
    ("says", "field"),
    [
        ({"amount_granted": ZERO}, "amount_granted"),
        ({"amount_paid": MINUS}, "amount_paid"),
        ({"priority": ZERO}, "priority"),
        ({"effective_duration": 0}, "effective_duration"),
        ({"recurrence_interval": 0}, "recurrence_interval"),
        ({"recurrence_interval": 1, "recurrence_duration": 0}, "recurrence_duration"),
        ({"recurrence_duration": 3}, "recurrence_duration"),
    ],
)
def test_a_fault_of_a_credit_grant_names_its_field(says: dict[str, Any], field: str) -> None:
    sound = PlanCreditGrant("g", Decimal(5), USD_CENTS, ZERO, USD_CENTS, 1, Decimal(1))
    assert fields(plan(charge(), credit_grants=(sound,))) == []
    faulty = replace(sound, **says)
    assert fields(plan(charge(), credit_grants=(sound, faulty))) == [f"credit_grants[1].{field}"]


def test_every_fault_is_told_at_once() -> None:
    faulty = plan(
        charge(("5", "-1"), metric_id=UUID(int=77), package_size=ZERO),
        fixed(quantity=MINUS),
        minimums=(Minimum("m", MINUS, EUROS),),
    )
    assert fields(faulty) == [
        "charges[0].prices[0].tier",
        "charges[0].prices[0].value",
        "charges[0].billable_metric_id",
        "charges[0].package_size",
        "charges[1].quantity",
        "minimums[0].value",
        "minimums[0].credit_type_id",
    ]


def test_a_plan_has_a_charge() -> None:
    assert fields(plan()) == ["charges"]
