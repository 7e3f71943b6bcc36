"""Ramps and a customer's own prices: what holds in which period, and in which order it applies."""

from collections.abc import Iterator
from decimal import Decimal
from uuid import UUID

import pytest

from services.domain.money import USD_CENTS
from services.domain.plan import ChargeType, Minimum, OverageRate
from services.domain.pricing.adjustment import (
    AdjustmentType,
    PriceAdjustment,
    adjustment_faults,
)
from services.domain.pricing.terms import (
    OverageRateAdjustment,
    PlanTerms,
    plan_at,
    step_of,
    trial_plan,
)
from tests.domain.plan_parts import PRODUCT, TOKENS, billed, charge, plan, price, used

FIRST, SECOND = UUID(int=101), UUID(int=102)
RAMP = plan(
    charge(("0", "10"), number=1, name="hours"),
    charge(("0", "12"), number=2, name="hours", start_period=3),
    charge(("0", "1"), number=3, name="support", start_period=1),
)


@pytest.mark.parametrize(
    ("number", "ids", "step"),
    [(0, [101], 0), (1, [101, 103], 1), (2, [101, 103], 1), (3, [102, 103], 3), (9, [102, 103], 3)],
)
def test_the_last_step_of_a_ramp_that_has_begun_holds(
    number: int, ids: list[int], step: int
) -> None:
    assert [each.id.int for each in plan_at(RAMP, number).charges] == ids
    assert step_of(RAMP, number) == step
    assert plan_at(RAMP, number) == plan_at(RAMP, step)


def test_charges_of_one_name_that_begin_together_are_no_ramp() -> None:
    both = plan(charge(name="x"), charge(number=2, name="x"))
    assert plan_at(both, 5).charges == both.charges


def test_a_plan_that_never_changes_is_handed_on_as_it_is() -> None:
    steady = plan(charge())
    assert plan_at(steady, 7) is steady
    assert trial_plan(steady) is steady


def test_a_step_is_worked_out_once() -> None:
    terms = PlanTerms(RAMP, [own(OVERRIDE, "5", start_period=2)])
    seen = [terms.of(billed(number)) for number in (0, 1, 2, 3, 4)]
    assert [each is terms.of(billed(number)) for number, each in enumerate(seen)] == [True] * 5
    assert [seen[number] == plan_at(RAMP, number, [own(OVERRIDE, "5", start_period=2)])
            for number in range(5)] == [True] * 5  # fmt: skip
    assert seen[3] is seen[4]
    assert len(set(map(id, seen))) == 4
    tried = terms.of(billed(trial=True))
    assert tried == trial_plan(plan_at(RAMP, 0))


def test_minimums_and_rates_have_ramps_by_unit() -> None:
    ramped = plan(
        charge(),
        unit=TOKENS,
        minimums=(
            Minimum("low", Decimal(1), TOKENS),
            Minimum("cash", Decimal(2), USD_CENTS),
            Minimum("high", Decimal(3), TOKENS, start_period=2),
        ),
        overage_rates=(
            OverageRate(TOKENS, USD_CENTS, Decimal(5)),
            OverageRate(TOKENS, USD_CENTS, Decimal(6), start_period=2),
        ),
    )
    assert [each.name for each in plan_at(ramped, 1).minimums] == ["low", "cash"]
    assert [each.name for each in plan_at(ramped, 2).minimums] == ["cash", "high"]
    assert [r.to_fiat_conversion_factor for r in plan_at(ramped, 1).overage_rates] == [5]
    assert [r.to_fiat_conversion_factor for r in plan_at(ramped, 2).overage_rates] == [6]
    own = (OverageRateAdjustment(TOKENS.id, USD_CENTS.id, Decimal(4)),)
    for number in (0, 2):  # in every step
        rates = plan_at(ramped, number, (), own).overage_rates
        assert [rate.to_fiat_conversion_factor for rate in rates] == [4]


def test_a_composite_that_names_a_charge_follows_its_ramp() -> None:
    tenth = charge(
        ("0", "0.1"),
        number=4,
        charge_type=ChargeType.COMPOSITE,
        product_id=UUID(int=12),
        base_charge_ids=(FIRST,),
    )
    followed = plan(*RAMP.charges, tenth)
    assert price(plan_at(followed, 0), used("100")).lines[-1].total == 100
    assert price(plan_at(followed, 3), used("100")).lines[-1].total == 120


def test_a_trial_has_usage_charges_only_and_no_minimum() -> None:
    mixed = plan(
        charge(),
        charge(number=2, charge_type=ChargeType.FIXED),
        charge(number=3, charge_type=ChargeType.COMPOSITE),
        charge(number=4, charge_type=ChargeType.MINIMUM),
        minimums=(Minimum("m", Decimal(1), USD_CENTS),),
    )
    tried = trial_plan(mixed)
    assert [each.charge_type for each in tried.charges] == [ChargeType.USAGE]
    assert tried.minimums == ()


def own(kind: AdjustmentType, value: str, **fields: object) -> PriceAdjustment:
    return PriceAdjustment(FIRST, kind, Decimal(value), **fields)  # type: ignore[arg-type]  # test


TIERED = plan(charge(("0", "10"), ("100", "8")), charge(number=2))
OVERRIDE, PERCENTAGE, FIXED, QUANTITY = (
    AdjustmentType.OVERRIDE,
    AdjustmentType.PERCENTAGE,
    AdjustmentType.FIXED,
    AdjustmentType.QUANTITY,
)


@pytest.mark.parametrize(
    ("adjustments", "prices"),
    [
        ([], ["10", "8"]),
        ([own(PERCENTAGE, "-0.05")], ["9.5", "7.6"]),
        ([own(FIXED, "-1")], ["9", "7"]),
        ([own(OVERRIDE, "5")], ["5", "5"]),
        ([own(FIXED, "1"), own(PERCENTAGE, "-0.5"), own(OVERRIDE, "4")], ["3", "3"]),  # 4 x 0.5 + 1
        ([own(PERCENTAGE, "-0.5", tier=Decimal(100))], ["10", "4"]),
        ([own(PERCENTAGE, "-0.5", tier=Decimal(100)), own(PERCENTAGE, "-0.1")], ["9", "4"]),
        (  # the last to begin holds, though another names the tier
            [own(PERCENTAGE, "-0.5", tier=Decimal(100)), own(PERCENTAGE, "-0.1", start_period=2)],
            ["9", "7.2"],
        ),
        ([own(OVERRIDE, "5", start_period=4)], ["10", "8"]),  # not yet
        ([own(OVERRIDE, "5", start_period=2), own(OVERRIDE, "6")], ["5", "5"]),  # the last to begin
        ([own(OVERRIDE, "5", start_period=2), own(PERCENTAGE, "-0.5")], ["2.5", "2.5"]),
    ],
)
def test_price_adjustments_at_period_2(
    adjustments: list[PriceAdjustment], prices: list[str]
) -> None:
    first, other = plan_at(TIERED, 2, adjustments).charges
    assert [tier.price for tier in first.tiers] == [Decimal(each) for each in prices]
    assert other == TIERED.charges[1]
    assert step_of(TIERED, 3, [own(OVERRIDE, "5", start_period=2)]) == 2


def test_a_quantity_replaces_the_one_of_a_fixed_charge() -> None:
    seats = plan(charge(("0", "5"), charge_type=ChargeType.FIXED, quantity=Decimal(10)))
    assert price(plan_at(seats, 0, [own(QUANTITY, "3")]), used("0")).total == 15


@pytest.mark.parametrize(
    ("adjustments", "fields"),
    [
        ([own(PERCENTAGE, "-1")], []),
        ([own(PERCENTAGE, "-1.01")], ["price_adjustments[0].value"]),
        ([own(OVERRIDE, "-1")], ["price_adjustments[0].value"]),
        ([own(FIXED, "-8")], []),
        ([own(FIXED, "-9")], ["price_adjustments[0].value"]),  # below 0 in the second tier
        ([own(OVERRIDE, "20"), own(FIXED, "-9")], []),
        ([own(OVERRIDE, "1", start_period=3), own(FIXED, "-8")], ["price_adjustments[1].value"]),
        ([own(OVERRIDE, "5", tier=Decimal(50))], ["price_adjustments[0].tier"]),
        ([own(QUANTITY, "5")], ["price_adjustments[0].adjustment_type"]),
        ([own(OVERRIDE, "5"), own(OVERRIDE, "6")], ["price_adjustments[1]"]),
        ([own(OVERRIDE, "5", start_period=-1)], ["price_adjustments[0].start_period"]),
        (
            [PriceAdjustment(UUID(int=7), OVERRIDE, Decimal(1))],
            ["price_adjustments[0].charge_id"],
        ),
    ],
)
def test_adjustments_that_make_no_sense_are_named(
    adjustments: list[PriceAdjustment], fields: list[str]
) -> None:
    found = adjustment_faults(TIERED, adjustments)
    assert [field for field, _ in found] == fields
    assert all(reason for _, reason in found)


def test_a_quantity_has_no_tier_and_is_not_negative() -> None:
    seats = plan(charge(charge_type=ChargeType.FIXED))
    found = adjustment_faults(seats, [own(QUANTITY, "-1", tier=Decimal(0))])
    assert [field for field, _ in found] == [
        "price_adjustments[0].tier",
        "price_adjustments[0].quantity",
    ]


def test_products_are_found_by_place_and_not_by_id() -> None:
    """Ids of charges may be anything; the order of lines is that of the plan."""
    twice = plan(charge(number=1), charge(number=1, product_id=UUID(int=12)), charge(number=1))
    assert twice.products == (((0, 2), False), ((1,), False))
    assert [line.product_id for line in price(twice, used("1")).lines] == [PRODUCT, UUID(int=12)]


class _Passes(list[PriceAdjustment]):
    """Counts how often it is looked through."""

    passes = 0

    def __iter__(self) -> Iterator[PriceAdjustment]:
        self.passes += 1
        return super().__iter__()


def test_many_adjustments_are_looked_through_once_not_for_each_period_and_charge() -> None:
    """A thousand of them on a plan of 200 charges held up every other request for a minute."""
    adjustments = _Passes(own(FIXED, "-0.001", start_period=number) for number in range(50))
    assert adjustment_faults(TIERED, adjustments) == []
    assert adjustments.passes <= 2
