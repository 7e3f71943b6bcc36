"""What the comparisons of prices draw from: plans with every kind of charge, usage, a customer's
own terms, credits; and the same in the oracle's form. Few values each, so that edges are met often.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import TypeVar
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st

from services.domain.money import CreditType
from services.domain.period import Period
from services.domain.plan import (
    Charge,
    ChargeType,
    Minimum,
    OverageRate,
    Plan,
    RoundingBehavior,
    Tier,
    Tiering,
    UnitConversion,
)
from services.domain.pricing.adjustment import AdjustmentType, PriceAdjustment
from services.domain.pricing.credits import AvailableGrant, cuts_of
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.invoice import Credits
from services.domain.pricing.usage import PeriodUsage
from services.domain.pricing.whole import TrialTerms
from services.domain.reference.terms import Terms, Used
from services.domain.schedule import BilledPeriod

# As many as `make test` shall compare; fewer while a rule is being written.
THOROUGH = settings(max_examples=int(os.environ.get("TOLLGATE_PRICING_CASES", "5000")))
# A case is drawn from a seed, which is fast; to have a failing one made small, let Hypothesis see
# every choice instead.
SHRINK = bool(os.environ.get("TOLLGATE_PRICING_SHRINK"))
seeds = st.randoms(use_true_random=not SHRINK)

TOKENS = CreditType(UUID(int=70), "tokens", 3, is_currency=False)
EUROS = CreditType(UUID(int=71), "EUR", 2)
START = datetime(2026, 11, 1, tzinfo=UTC)
Key = TypeVar("Key")
METRICS = (UUID(int=1), UUID(int=2))
PRODUCTS = (UUID(int=1), UUID(int=2), UUID(int=3))
REGIONS = (None, "", "eu", "us", "é")
SIMPLE_AMOUNTS = tuple(map(Decimal, ("10", "1", "0.01", "0.333", "7.5", "0", "99.99")))
KINDS = (ChargeType.USAGE, ChargeType.USAGE, *ChargeType)
EDGES = tuple(map(Decimal, ("100", "100.5", "10", "9.5", "0", "1e-38", "-1e-38", "1e37", "-1e37")))


def decimal_of(random: Random, digits_max: int, places_max: int) -> Decimal:
    """A number above zero with at most so many digits on each side."""
    whole = random.randrange(10 ** random.randint(0, digits_max))
    places = random.randint(0, places_max)
    return Decimal(f"{whole}.{random.randrange(10**places):0{places}}" if places else whole)


def amount_of(random: Random) -> Decimal:
    if random.random() < 0.7:
        return random.choice(SIMPLE_AMOUNTS)
    return decimal_of(random, 6, 6)


def quantity_of(random: Random) -> Decimal:
    """Whole numbers meet the tiers' ends; others are as huge and tiny as an event can hold."""
    match random.randrange(5):
        case 0:
            return random.choice(EDGES)
        case 1:
            return decimal_of(random, 38, 38).copy_sign(random.choice((1, -1)))
        case 2:
            return Decimal(random.randint(-30, 30))
        case _:
            return Decimal(random.randint(1, 300))


def tiers_of(random: Random) -> tuple[Tier, ...]:
    starts = [Decimal(0)]
    for _ in range(random.randrange(4)):
        starts.append(starts[-1] + Decimal(random.choice(("10", "90", "0.5", "1e-20"))))
    return tuple(Tier(start, amount_of(random)) for start in starts)


def conversion_of(random: Random) -> UnitConversion | None:
    if random.random() < 0.6:
        return None
    factor = Decimal(random.choice(("3", "1000", "0.7", "1e-9")))
    return UnitConversion(factor, random.choice((None, *RoundingBehavior)))


def some(random: Random, values: Sequence[Key], count_max: int) -> tuple[Key, ...]:
    """Some of the values, in any order."""
    return tuple(random.sample(values, random.randint(0, count_max)))


def charge_of(random: Random, number: int, kinds: Sequence[ChargeType] = KINDS) -> Charge:
    """One charge of any of the kinds. Its name may make it a step of a ramp."""
    kind = random.choice(kinds)
    charge = Charge(
        id=UUID(int=100 + number),
        name=random.choice("abcd"),
        product_id=random.choice(PRODUCTS),
        product_name="p",
        metric_id=None,
        tiers=tiers_of(random),
        charge_type=kind,
        tiering=random.choice(tuple(Tiering)),
        start_period=random.choice((0, 0, 0, 1, 3)),
    )
    if kind is ChargeType.FIXED:
        return replace(charge, quantity=amount_of(random))
    if kind is not ChargeType.USAGE:
        return replace(
            charge,
            tiers=charge.tiers if kind is ChargeType.COMPOSITE else charge.tiers[:1],
            base_product_ids=some(random, PRODUCTS, 1),
            base_charge_ids=some(random, [UUID(int=100 + n) for n in range(5)], 2),
        )
    return replace(
        charge,
        metric_id=random.choice(METRICS),
        unit_conversion=conversion_of(random),
        package_size=random.choice((None, None, Decimal(10), Decimal("0.3"))),
        tier_reset_frequency=random.choice((1, 1, 2, 3)),
        group_key=random.choice(((), (), ("region",))),
    )


def plan_of(random: Random) -> Plan:
    """A plan in a custom pricing unit, perhaps with a rate to a currency. One in four is of little
    but fixed charges: several that are prorated together, and little enough for minimums."""
    kinds = random.choice((*[KINDS] * 3, (*[ChargeType.FIXED] * 4, ChargeType.COMPOSITE)))
    return Plan(
        UUID(int=9),
        "plan",
        TOKENS,
        tuple(charge_of(random, number, kinds) for number in range(random.randint(1, 5))),
        minimums=tuple(
            Minimum("m", amount_of(random), unit, start)
            for unit in (TOKENS, EUROS)
            for start in some(random, (0, 1, 3), 2)
        ),
        overage_rates=tuple(
            OverageRate(TOKENS, EUROS, amount_of(random), start)
            for start in some(random, (0, 1, 3), 2)
        ),
    )


def usage_of(random: Random, number: int) -> PeriodUsage:
    """Usage of the period of a number, with that of the ones before it."""
    return PeriodUsage(
        {metric: quantity_of(random) for metric in METRICS},
        {
            (metric, ("region",)): {
                (region,): quantity_of(random) for region in some(random, REGIONS, 3)
            }
            for metric in METRICS
        },
        tuple(usage_of(random, 0) for _ in range(min(number, 2))),
    )


def adjustments_of(random: Random, plan: Plan) -> tuple[PriceAdjustment, ...]:
    """A customer's own prices; prices may go below zero here."""
    found: dict[object, PriceAdjustment] = {}
    for _ in range(random.randrange(4)):
        charge = random.choice(plan.charges)
        each = PriceAdjustment(
            charge.id,
            random.choice(tuple(AdjustmentType)),
            amount_of(random).copy_sign(random.choice((1, -1))),
            random.choice((0, 1, 3)),
            random.choice((None, *(tier.starts_after for tier in charge.tiers))),
        )
        if each.adjustment_type is AdjustmentType.QUANTITY:
            each = replace(each, value=abs(each.value), tier=None)
        found[each.charge_id, each.adjustment_type, each.start_period, each.tier] = each
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class Case:
    """One invoice to be priced."""

    plan: Plan
    usage: PeriodUsage
    billed: BilledPeriod
    adjustments: tuple[PriceAdjustment, ...]
    trial: TrialTerms | None
    credits: Credits


def case_of(random: Random) -> Case:
    """An invoice with everything that may be about it."""
    plan = plan_of(random)
    trial = random.choice((*[None] * 8, TrialTerms(), TrialTerms(Decimal(50))))
    number = 0 if trial else random.choice((0, 1, 2, 3, 5))
    held = Period(START, START + timedelta(days=random.choice((30, 30, 25, 10, 7))))
    days = random.choice((30, 31, 90, 366))
    whole = held if trial else Period(START, START + timedelta(days=days))
    usage = usage_of(random, number)
    grants = [grant_of(random, each) for each in range(random.randrange(4))]
    cuts = cuts_of(held, [each.grant for each in grants])
    return Case(
        plan,
        usage,
        BilledPeriod(held, whole, number, trial is not None),
        adjustments_of(random, plan),
        trial,
        Credits(grants, [(at, usage_of(random, 0)._replace(earlier=usage.earlier)) for at in cuts]),
    )


def grant_of(random: Random, number: int) -> AvailableGrant:
    """A grant and what is left of it."""
    begins, ends = (
        START + timedelta(days=random.choice((outside, random.randint(-3, 33))))
        for outside in (-9, 99)
    )
    grant = CreditGrant(
        UUID(int=500 + number),
        f"grant {number}",
        random.choice((TOKENS, TOKENS, EUROS)),
        Decimal(10**6),
        random.choice((Decimal(1), Decimal("0.5"))),
        begins,
        max(begins, ends),
        some(random, PRODUCTS, 2),
    )
    left = random.choice((Decimal(100), Decimal(10**9), amount_of(random)))
    return AvailableGrant(grant, left)


cases = seeds.map(case_of)


def as_used(usage: PeriodUsage) -> Used:
    """Usage in the oracle's form."""
    return Used(
        _fractions(usage.quantities),
        {key: _fractions(found) for key, found in usage.groups.items()},
        tuple(map(as_used, usage.earlier)),
    )


def _fractions(values: Mapping[Key, Decimal]) -> dict[Key, Fraction]:
    return {key: Fraction(value) for key, value in values.items()}


def as_terms(case: Case) -> Terms:
    """The customer's terms in the oracle's form."""
    cap = None if case.trial is None else case.trial.spending_cap
    return Terms(
        number=case.billed.number,
        days=(case.billed.days_held, case.billed.days_whole),
        adjustments=case.adjustments,
        trial=case.trial is not None,
        trial_cap=None if cap is None else Fraction(cap),
    )
