"""What the comparisons of prices draw from: plans with every kind of charge, usage, a customer's
own terms, credits; and the same in the oracle's form. Few values each, so that edges are met often.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
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
from services.domain.pricing.usage import GroupValues, PeriodUsage
from services.domain.pricing.whole import TrialTerms
from services.domain.reference.terms import Terms, Used
from services.domain.schedule import BilledPeriod
from tests.domain.strategies import decimals

# As many as `make test` shall compare; fewer while a rule is being written.
THOROUGH = settings(max_examples=int(os.environ.get("TOLLGATE_PRICING_CASES", "2000")))

TOKENS = CreditType(UUID(int=70), "tokens", 3, is_currency=False)
EUROS = CreditType(UUID(int=71), "EUR", 2)
START = datetime(2026, 11, 1, tzinfo=UTC)
Key = TypeVar("Key")
METRICS = (UUID(int=1), UUID(int=2))
PRODUCTS = (UUID(int=1), UUID(int=2), UUID(int=3))

amounts = st.sampled_from([Decimal(n) for n in ("10", "1", "0.01", "0.333", "7.5", "0")]) | (
    decimals(6, 6).map(abs)
)
# Whole numbers meet the tiers' ends; the others are as huge and as tiny as an event can hold.
quantities = st.one_of(
    st.integers(1, 300).map(Decimal),
    st.integers(-30, 30).map(Decimal),
    st.sampled_from([Decimal(n) for n in ("100.5", "1e-38", "-1e-38", "99.5", "1e37", "-1e37")]),
    decimals(38, 38),
)
regions: st.SearchStrategy[GroupValues] = st.tuples(st.sampled_from([None, "", "eu", "us", "é"]))
groups: st.SearchStrategy[Mapping[GroupValues, Decimal]] = st.dictionaries(
    regions, quantities, max_size=3
)


@st.composite
def tier_tables(draw: st.DrawFn) -> tuple[Tier, ...]:
    sizes = st.sampled_from([Decimal(n) for n in ("10", "90", "0.5", "1e-20")])
    steps = [draw(sizes) for _ in range(draw(st.sampled_from([2, 1, 3, 0])))]
    starts = [Decimal(0)]
    for step in steps:
        starts.append(starts[-1] + step)
    return tuple(Tier(start, draw(amounts)) for start in starts)


conversions = st.none() | st.builds(
    UnitConversion,
    st.sampled_from([Decimal(n) for n in ("3", "1000", "0.7", "1e-9")]),
    st.sampled_from([None, *RoundingBehavior]),
)


@st.composite
def charges(draw: st.DrawFn, number: int) -> Charge:
    """One charge of any kind. Its name may make it a step of a ramp."""
    kind = draw(st.sampled_from([ChargeType.USAGE, ChargeType.USAGE, *ChargeType]))
    charge = Charge(
        id=UUID(int=100 + number),
        name=draw(st.sampled_from("abcd")),
        product_id=draw(st.sampled_from(PRODUCTS)),
        product_name="p",
        metric_id=None,
        tiers=draw(tier_tables()),
        charge_type=kind,
        tiering=draw(st.sampled_from(Tiering)),
        start_period=draw(st.sampled_from([0, 0, 0, 1, 3])),
    )
    if kind is ChargeType.FIXED:
        return replace(charge, quantity=draw(amounts))
    if kind is not ChargeType.USAGE:
        return replace(
            charge,
            tiers=charge.tiers if kind is ChargeType.COMPOSITE else charge.tiers[:1],
            base_product_ids=tuple(draw(st.sets(st.sampled_from(PRODUCTS), max_size=1))),
            base_charge_ids=tuple(
                draw(st.sets(st.integers(100, 104).map(lambda n: UUID(int=n)), max_size=2))
            ),
        )
    return replace(
        charge,
        metric_id=draw(st.sampled_from(METRICS)),
        unit_conversion=draw(conversions),
        package_size=draw(st.sampled_from([None, None, Decimal(10), Decimal("0.3")])),
        tier_reset_frequency=draw(st.sampled_from([1, 1, 2, 3])),
        group_key=draw(st.sampled_from([(), (), ("region",)])),
    )


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A plan, perhaps in a custom pricing unit."""
    number = draw(st.sampled_from([3, 4, 5, 2, 1, 0]))
    units = st.sampled_from([TOKENS, EUROS])
    starts = st.sampled_from([0, 1, 3])
    return Plan(
        UUID(int=9),
        "plan",
        TOKENS,
        tuple(draw(charges(each)) for each in range(number)),
        minimums=tuple(
            draw(st.lists(st.builds(Minimum, st.just("m"), amounts, units, starts), max_size=2))
        ),
        overage_rates=tuple(
            OverageRate(TOKENS, EUROS, draw(amounts), start)
            for start in draw(st.sets(starts, max_size=2))
        ),
    )


@st.composite
def period_usage(draw: st.DrawFn, number: int) -> PeriodUsage:
    """Usage of the period of a number, with that of the ones before it."""
    return PeriodUsage(
        {metric: draw(quantities) for metric in METRICS},
        {(metric, ("region",)): draw(groups) for metric in METRICS},
        tuple(draw(period_usage(0)) for _ in range(min(number, 2))),
    )


@st.composite
def adjustments(draw: st.DrawFn, plan: Plan) -> tuple[PriceAdjustment, ...]:
    """A customer's own prices; prices may go below zero here."""
    if not plan.charges:
        return ()
    found: dict[object, PriceAdjustment] = {}
    for _ in range(draw(st.integers(0, 3))):
        charge = draw(st.sampled_from(plan.charges))
        each = PriceAdjustment(
            charge.id,
            draw(st.sampled_from(AdjustmentType)),
            draw(amounts | amounts.map(lambda value: -value)),
            draw(st.sampled_from([0, 1, 3])),
            draw(st.none() | st.sampled_from([tier.starts_after for tier in charge.tiers])),
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


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """An invoice with everything that may be about it."""
    plan = draw(plans())
    trial = draw(st.sampled_from([*[None] * 8, TrialTerms(), TrialTerms(Decimal(50))]))
    number = 0 if trial else draw(st.sampled_from([0, 1, 2, 3, 5]))
    held = Period(START, START + timedelta(days=draw(st.sampled_from([30, 30, 10, 7]))))
    billed = BilledPeriod(
        held, held if trial else Period(START, START + timedelta(days=30)), number, bool(trial)
    )
    grants = [draw(available_grants(each)) for each in range(draw(st.sampled_from([0, 1, 2, 3])))]
    cuts = cuts_of(held, [each.grant for each in grants])
    usage = draw(period_usage(number))
    return Case(
        plan,
        usage,
        billed,
        draw(adjustments(plan)),
        trial,
        Credits(
            grants, [(at, replace(draw(period_usage(0)), earlier=usage.earlier)) for at in cuts]
        ),
    )


@st.composite
def available_grants(draw: st.DrawFn, number: int) -> AvailableGrant:
    """A grant and what is left of it."""
    day = st.integers(-3, 33).map(lambda days: START + timedelta(days=days))
    begins = draw(st.sampled_from([START - timedelta(days=9)]) | day)
    ends = draw(st.sampled_from([START + timedelta(days=99)]) | day)
    grant = CreditGrant(
        UUID(int=500 + number),
        f"grant {number}",
        draw(st.sampled_from([TOKENS, TOKENS, EUROS])),
        Decimal(10**6),
        draw(st.sampled_from([Decimal(1), Decimal("0.5")])),
        begins,
        max(begins, ends),
        tuple(draw(st.lists(st.sampled_from(PRODUCTS), max_size=2, unique=True))),
    )
    return AvailableGrant(grant, draw(st.sampled_from([Decimal(100), Decimal(10**9)]) | amounts))


def as_used(usage: PeriodUsage) -> Used:
    """Usage in the oracle's form."""
    return Used(
        _fractions(usage.quantities),
        {key: _fractions(found) for key, found in usage.groups.items()},
        tuple(map(as_used, usage.earlier)),
    )


def _fractions(values: Mapping[Key, Decimal]) -> dict[Key, Fraction]:
    return {key: Fraction(value) for key, value in values.items()}


def as_terms(case: Case, credits_paid: Sequence[tuple[str, Fraction]] = ()) -> Terms:
    """The customer's terms in the oracle's form."""
    cap = None if case.trial is None else case.trial.spending_cap
    return Terms(
        number=case.billed.number,
        days=(case.billed.days_held, case.billed.days_whole),
        adjustments=case.adjustments,
        trial=case.trial is not None,
        trial_cap=None if cap is None else Fraction(cap),
        credits=tuple(credits_paid),
    )
