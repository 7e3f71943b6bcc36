"""Every random invoice priced twice: in decimals by the domain and in fractions by the oracle. They
agree to the last digit, and what is shown adds up.
"""

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain import plan as limits
from services.domain.meter import Aggregation, BillableMetric
from services.domain.money import USD_CENTS
from services.domain.number import ZERO
from services.domain.period import Period
from services.domain.plan import ChargeType, Minimum, OverageRate
from services.domain.plan_faults import plan_faults
from services.domain.pricing.adjustment import AdjustmentType, PriceAdjustment
from services.domain.pricing.charge import sum_of
from services.domain.pricing.invoice import Credits, PricedInvoice, price_period
from services.domain.pricing.lines import ProductLine, Share
from services.domain.pricing.reconcile import reconcile
from services.domain.pricing.terms import PlanTerms, plan_at
from services.domain.pricing.usage import PeriodUsage
from services.domain.reference.credits import bill_credited
from services.domain.reference.price import Bill, Line
from tests.domain.plan_parts import METRIC, NOVEMBER, TOKENS, charge, plan
from tests.domain.plan_parts import billed as period_of_november
from tests.domain.pricing_cases import (
    METRICS,
    THOROUGH,
    Case,
    as_terms,
    as_used,
    cases,
    plan_of,
    seeds,
    usage_of,
)


def priced(case: Case) -> PricedInvoice:
    """By the domain."""
    plan = PlanTerms(case.plan, case.adjustments).of(case.billed)
    return price_period(plan, case.usage, case.billed, case.trial, case.credits)


def billed(case: Case) -> Bill:
    """By the oracle."""
    ends = [*case.credits.used_until, (case.billed.held.end, case.usage)]
    return bill_credited(
        case.plan,
        [(end, as_used(usage)) for end, usage in ends],
        case.billed.held.start,
        as_terms(case),
        [(each.grant, Fraction(each.available)) for each in case.credits.grants],
    )


def faults(case: Case, found: PricedInvoice) -> list[str]:
    """What does not add up."""
    share = Share(case.billed.days_held, case.billed.days_whole)
    return reconcile(plan_at(case.plan, case.billed.number, case.adjustments), found, share)


@THOROUGH
@given(cases)
def test_prices_agree_with_the_oracle_and_add_up(case: Case) -> None:
    found, wanted = priced(case), billed(case)
    assert [_line(line) for line in found.lines] == [_fractions(line) for line in wanted.lines]
    assert Fraction(found.subtotal) == wanted.subtotal
    assert [(a.name, Fraction(a.amount)) for a in found.adjustments] == list(wanted.adjustments)
    assert Fraction(found.due) == wanted.due
    assert Fraction(found.total) == wanted.total
    assert faults(case, found) == []


@given(cases, st.integers(1, 3))
def test_groups_beyond_the_limit_share_a_line_that_adds_up(case: Case, most: int) -> None:
    """Whatever has lines of its own, the amounts are the same to the last digit."""
    unlimited = priced(case)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "GROUP_LINES_MAX", most)
        found, wanted = priced(case), billed(case)
    assert [_line(line) for line in found.lines] == [_fractions(line) for line in wanted.lines]
    assert [line.others for line in found.lines] == [line.others for line in wanted.lines]
    assert found[1:] == unlimited[1:]
    assert faults(case, found) == []
    of_key = Counter((line.product_id, line.group_key) for line in found.lines)
    assert max(of_key.values(), default=0) <= most + 1
    assert sum(line.others or 1 for line in found.lines) == len(unlimited.lines)


@given(cases)
def test_an_invoice_comes_to_the_higher_of_its_minimums_at_least(case: Case) -> None:
    """Exactly, whatever was used, before credits are taken off: none on top of another."""
    found = priced(case)
    if found.conversion is None or case.trial is not None:
        return
    at = plan_at(case.plan, case.billed.number, case.adjustments)
    factor = Fraction(found.conversion.factor)
    least = dict.fromkeys((at.unit, found.unit), -Fraction(10**300))
    least |= {minimum.unit: Fraction(minimum.value) for minimum in at.minimums}
    credited = sum(Fraction(a.amount) for a in found.adjustments if a.credit_grant_id is not None)
    spend = max(Fraction(found.subtotal), least[at.unit])
    assert Fraction(found.due) == max(spend * factor, least[found.unit]) + credited * factor
    assert billed(case).due == Fraction(found.due)


@given(cases)
def test_no_grant_pays_more_than_it_has_or_there_is(case: Case) -> None:
    found = priced(case)
    available = {each.grant.id: each.available for each in case.credits.grants}
    for adjustment in found.adjustments:
        if adjustment.credit_grant_id is not None:
            assert 0 < adjustment.amount.copy_negate() <= available[adjustment.credit_grant_id]
            assert adjustment.unit == case.plan.unit
    if not case.credits.used_until:  # one piece: nothing is taken back after it was covered
        # Not -amount, which rounds to the thread's context.
        paid = sum_of(
            a.amount.copy_negate() for a in found.adjustments if a.credit_grant_id is not None
        )
        assert paid <= max(found.subtotal, ZERO)


LONGEST = Decimal("9" * 38 + "." + "9" * 38)  # the longest number that comes in


def test_the_longest_amounts_there_can_be_are_exact() -> None:
    """10^20 of the longest events, at adjusted prices of which a composite takes an adjusted share,
    converted: no amount outgrows the context, which would stop the process."""
    metered = Decimal("9" * 58 + "." + "9" * 38)
    usage, share, fee = UUID(int=101), UUID(int=102), UUID(int=103)
    week = Period(NOVEMBER.start, NOVEMBER.start + timedelta(days=7))
    longest = plan(
        charge(("0", "0"), number=1),
        charge(("0", "0"), number=2, charge_type=ChargeType.COMPOSITE, product_id=UUID(int=12)),
        charge(("0", "0"), number=3, charge_type=ChargeType.FIXED, quantity=LONGEST),
        unit=TOKENS,
        overage_rates=(OverageRate(TOKENS, USD_CENTS, LONGEST),),
        minimums=(Minimum("m", LONGEST, TOKENS), Minimum("m", LONGEST, USD_CENTS)),
    )
    own = tuple(
        PriceAdjustment(each, kind, LONGEST)
        for each in (usage, share, fee)
        for kind in (AdjustmentType.OVERRIDE, AdjustmentType.PERCENTAGE, AdjustmentType.FIXED)
    )
    for sign in (1, -1):
        case = Case(
            longest,
            PeriodUsage({METRIC: metered.copy_sign(sign)}),
            period_of_november(held=week),
            own,
            None,
            Credits(()),
        )
        found, wanted = priced(case), billed(case)
        assert Fraction(found.due) == wanted.due
        assert Fraction(found.total) == wanted.total


@given(seeds, st.sampled_from([0, 1, 3]))
def test_a_sound_plan_never_bills_less_than_nothing_for_usage_above_zero(
    random: Random, number: int
) -> None:
    drawn, usage = plan_of(random), usage_of(random, 3)
    metrics = {
        each: BillableMetric(each, "m", Aggregation.SUM, "v", group_keys=(("region",),))
        for each in METRICS
    }
    if plan_faults(drawn, metrics):
        return
    invoice = price_period(plan_at(drawn, number), above_zero(usage), period_of_november(number))
    assert all(line.total >= 0 for line in invoice.lines)
    assert invoice.total >= 0


def above_zero(usage: PeriodUsage) -> PeriodUsage:
    """The same without signs."""
    return PeriodUsage(
        {key: value.copy_abs() for key, value in usage.quantities.items()},
        {
            key: {values: value.copy_abs() for values, value in found.items()}
            for key, found in usage.groups.items()
        },
        (*map(above_zero, usage.earlier), *[PeriodUsage({})] * (3 - len(usage.earlier))),
    )


def _line(line: ProductLine) -> object:
    parts = [
        (
            charge.charge.id,
            Fraction(charge.quantity),
            [
                tuple(map(Fraction, (t.starts_after, t.quantity, t.price, t.subtotal)))
                for t in charge.tiers
            ],
            Fraction(charge.subtotal),
        )
        for charge in line.charges
    ]
    return line.product_id, line.group_key, line.group_values, parts, Fraction(line.total)


def _fractions(line: Line) -> object:
    parts = [
        (c.charge_id, c.quantity, [tuple(t) for t in c.tiers], c.subtotal) for c in line.charges
    ]
    return line.product_id, *line.group, parts, line.total
