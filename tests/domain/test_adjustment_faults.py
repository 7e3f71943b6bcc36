"""Adjustments that take a price below 0: the fast way says what the plain one does."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random
from time import process_time

from hypothesis import given

from services.domain.plan import Charge, Tier
from services.domain.pricing.adjustment import (
    AdjustmentType,
    PriceAdjustment,
    adjusted,
    adjustment_faults,
)
from tests.domain.plan_parts import charge, plan
from tests.domain.pricing_cases import THOROUGH, seeds

KINDS = (
    AdjustmentType.FIXED, AdjustmentType.FIXED, AdjustmentType.PERCENTAGE, AdjustmentType.OVERRIDE,
)  # fmt: skip
VALUES = {
    AdjustmentType.FIXED: ("-1", "-9", "-10", "-10.01", "4", "0", "-1e-38", f"-9.{1:030}"),
    AdjustmentType.PERCENTAGE: ("-1", "-0.5", "0", "0.1", "-0.99999999999999999999999999999999999"),
    AdjustmentType.OVERRIDE: ("0", "10", "12", "1", "1e37"),
}


def plainly(own: Charge, adjustments: Sequence[PriceAdjustment]) -> list[tuple[int, int]]:
    """(place of the adjustment, billing period): every period's prices are worked out."""
    for number in range(max((each.start_period for each in adjustments), default=0) + 1):
        for tier in adjusted(own, adjustments, number).tiers:
            if tier.price < 0:
                return [
                    (place, number)
                    for place, each in enumerate(adjustments)
                    if each.adjustment_type is AdjustmentType.FIXED
                    and each.value < 0
                    and each.start_period <= number
                    and each.tier in (None, tier.starts_after)
                ][:1]
    return []


def adjustments_of(random: Random, own: Charge) -> list[PriceAdjustment]:
    """Of few starts, tiers and values, so that they replace each other often; in any order."""
    found: dict[object, PriceAdjustment] = {}
    for _ in range(random.randrange(12)):
        kind = random.choice(KINDS)
        each = PriceAdjustment(
            own.id,
            kind,
            Decimal(random.choice(VALUES[kind])),
            random.randrange(5),
            random.choice((None, *(tier.starts_after for tier in own.tiers))),
        )
        found[kind, each.start_period, each.tier] = each
    return random.sample(list(found.values()), len(found))


@THOROUGH
@given(seeds)
def test_the_first_price_below_0_is_found_as_by_working_out_every_period(random: Random) -> None:
    prices = [random.choice(("10", "9", "0", "20.5")) for _ in range(random.randint(1, 4))]
    tiers = tuple(Tier(Decimal(10 * at), Decimal(price)) for at, price in enumerate(prices))
    own = replace(charge(), tiers=tiers)
    adjustments = adjustments_of(random, own)
    found = adjustment_faults(plan(own), adjustments)
    assert found == [
        (
            f"price_adjustments[{place}].value",
            f"takes the price of charge 'c1' below 0 from billing period {number} on",
        )
        for place, number in plainly(own, adjustments)
    ]


def test_a_thousand_starts_of_a_hundred_tiers_hold_nobody_up() -> None:
    """The API answers nobody meanwhile; it was a second. CPU time, the best of three."""
    own = charge(*((str(start), "1000") for start in range(100)))
    adjustments = [
        PriceAdjustment(own.id, AdjustmentType.FIXED, Decimal(-number), number)
        for number in range(1_000)
    ]
    took = []
    for _ in range(3):
        started = process_time()
        assert adjustment_faults(plan(own), adjustments) == []
        took.append(process_time() - started)
    assert min(took) < 0.1
