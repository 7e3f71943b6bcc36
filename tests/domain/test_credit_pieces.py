"""What credits pay of a part of a period: its units have the prices that they have on the invoice,
so usage that only grows is never paid for twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import given

from services.domain import plan as limits
from services.domain.number import add
from services.domain.period import Period
from services.domain.plan import Charge, ChargeType, Tiering, UnitConversion
from services.domain.pricing.charge import sum_of
from services.domain.pricing.credits import AvailableGrant, cuts_of
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.invoice import Credits, PricedInvoice, price_period
from services.domain.pricing.terms import PlanTerms
from services.domain.pricing.usage import PeriodUsage
from services.domain.pricing.whole import TrialTerms
from services.domain.reference.credits import bill_credited
from tests.domain.plan_parts import NOVEMBER, billed, charge, grant, plan, used, utc
from tests.domain.pricing_cases import (
    THOROUGH,
    TOKENS,
    Case,
    as_terms,
    as_used,
    case_of,
    seeds,
    usage_of,
)

CUT = utc(2026, 11, 12)
TIERS = (("0", "10"), ("10", "5"))
EARLY = grant("1000", expires_at=CUT)
LATE = grant("1000", 2, effective_at=CUT)
Key = TypeVar("Key")


def volume(*prices: tuple[str, str], **fields: Any) -> Charge:
    return charge(*(prices or TIERS), tiering=Tiering.VOLUME, **fields)


def split(
    charges: Sequence[Charge],
    until: PeriodUsage,
    usage: PeriodUsage,
    number: int = 0,
    trial: TrialTerms | None = None,
) -> tuple[int, int, int]:
    """What a grant up to the cut pays, what one from then on, and what is left to pay."""
    available = Credits([AvailableGrant(each, each.amount) for each in (EARLY, LATE)])
    available = replace(available, used_until=[(CUT, until)])
    period = billed(number, trial=trial is not None)
    invoice = price_period(plan(*charges), usage, period, trial, available)
    paid = {each.credit_grant_id: int(-each.amount) for each in invoice.adjustments}
    return paid.get(EARLY.id, 0), paid.get(LATE.id, 0), int(invoice.total)


def test_by_volume_what_was_used_up_to_a_cut_has_the_price_that_the_period_reaches() -> None:
    """9 by the cut at 10 each would be 90, more than all 11 come to at 5."""
    assert split([volume()], used("9"), used("11")) == (45, 10, 0)
    invoice = price_period(
        plan(volume()),
        used("11"),
        billed(),
        available=Credits([AvailableGrant(EARLY, EARLY.amount)], [(CUT, used("9"))]),
    )
    assert [invoice.subtotal, invoice.total] == [55, 10]


def test_each_group_has_the_tier_that_it_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    grouped = volume(group_key=("region",))
    until, usage = used("0", eu="9", us="9"), used("0", eu="11", us="9", za="2")
    assert split([grouped], until, usage) == (45 + 90, 10 + 20, 0)
    monkeypatch.setattr(limits, "GROUP_LINES_MAX", 1)
    assert split([grouped], until, usage) == (45 + 90, 10 + 20, 0)


def test_a_quantity_at_a_cut_is_converted_and_counted_in_blocks_as_ever() -> None:
    """5 of 6 blocks are started by the cut, and 6 reach the second tier."""
    blocks = volume(("0", "10"), ("5", "6"), package_size=Decimal(10))
    assert split([blocks], used("41"), used("55")) == (5 * 6, 6, 0)
    halves = volume(unit_conversion=UnitConversion(Decimal(2)))
    assert split([halves], used("18"), used("22")) == (9 * 5, 2 * 5, 0)


def test_tiers_run_on_from_the_earlier_periods_of_their_window() -> None:
    """4 of the month before, and 7: the period reaches 11."""
    windowed = volume(tier_reset_frequency=2)
    before = (used("0"), used("4"))
    until, usage = (used(each)._replace(earlier=before[1:]) for each in ("5", "7"))
    assert split([windowed], until, usage, number=1) == (25, 10, 0)
    assert split([windowed], until, usage, number=2) == (50, 20, 0)  # a new window


def test_a_percentage_by_volume_is_that_of_what_the_period_spends() -> None:
    share = volume(
        ("0", "0.5"), ("50", "0.1"), number=2, charge_type=ChargeType.COMPOSITE
    )  # half of up to 50, else a tenth
    assert split([charge(("0", "10")), share], used("4"), used("6")) == (44, 22, 0)
    # The base is by volume too: 9 x 5, not 9 x 10.
    assert split([volume(), share], used("8"), used("12")) == (40 + 4, 20 + 2, 0)


def test_what_a_minimum_lacks_is_of_the_end_of_the_period() -> None:
    """A minimum of 100: after 30 by the cut and 50 in all, 50 lack."""
    minimum = charge(("0", "100"), number=2, charge_type=ChargeType.MINIMUM)
    assert split([charge(), minimum], used("30"), used("50")) == (30, 70, 0)
    assert split([charge(), minimum], used("30"), used("130")) == (30, 100, 0)
    other = replace(minimum, product_id=UUID(int=12), base_charge_ids=(UUID(int=101),))
    assert split([charge(), other], used("30"), used("50")) == (30, 70, 0)


def test_a_trial_pays_for_the_earliest_units_at_the_prices_of_the_invoice() -> None:
    assert split([volume()], used("9"), used("11"), trial=TrialTerms(Decimal(50))) == (0, 5, 0)
    assert split([volume()], used("9"), used("11"), trial=TrialTerms(Decimal(40))) == (5, 10, 0)


def test_quantities_that_fall_still_take_what_was_covered_below_zero() -> None:
    """METRONOME 4.2, with whatever tiers: no credits are given back."""
    assert split([charge(("0", "10"))], used("9"), used("2")) == (90, 0, -70)
    assert split([volume()], used("11"), used("4")) == (110, 0, -70)


def growing(random: Random) -> Case:
    """Usage that only grows and prices that are not below zero; with credits without end for each
    product in each part of the period."""
    case = case_of(random)
    held = case.billed.held
    cuts = cuts_of(held, [each.grant for each in case.credits.grants])
    ends = [held.start, *cuts, held.end]
    grants = [
        AvailableGrant(_unlimited(product, place, Period(start, end)), Decimal(10**300))
        for place, (start, end) in enumerate(pairwise(ends))
        for product in {charge.product_id: None for charge in case.plan.charges}
    ]
    total = PeriodUsage({})
    earlier = tuple(_grown(total, each) for each in case.usage.earlier)
    marks = []
    for _ in ends[1:]:
        total = _grown(total, usage_of(random, 0))
        marks.append(total._replace(earlier=earlier))
    own = tuple(replace(each, value=each.value.copy_abs()) for each in case.adjustments)
    available = Credits(grants, list(zip(cuts, marks, strict=False)))
    return replace(case, usage=marks[-1], adjustments=own, credits=available)


def _unlimited(product_id: UUID, place: int, held: Period) -> CreditGrant:
    number = 1000 * (place + 1) + product_id.int
    fields = {"effective_at": held.start, "expires_at": held.end, "product_ids": (product_id,)}
    return grant("1", number, unit=TOKENS, **fields)


def _grown(total: PeriodUsage, more: PeriodUsage) -> PeriodUsage:
    """The usage and so much more, whatever its signs."""
    groups = {key: _sums(total.groups.get(key, {}), found) for key, found in more.groups.items()}
    return PeriodUsage(_sums(total.quantities, more.quantities), groups)


def _sums(held: Mapping[Key, Decimal], more: Mapping[Key, Decimal]) -> dict[Key, Decimal]:
    together = {**held}
    for key, value in more.items():
        together[key] = add(together.get(key, Decimal(0)), value.copy_abs())
    return together


def priced(case: Case) -> PricedInvoice:
    terms = PlanTerms(case.plan, case.adjustments).of(case.billed)
    return price_period(terms, case.usage, case.billed, case.trial, case.credits)


growing_cases = seeds.map(growing)


@THOROUGH
@given(growing_cases)
def test_growing_usage_makes_no_piece_below_zero(case: Case) -> None:
    """Credits without end pay for each product what it comes to: they would pay more where a piece
    was below zero, because what was covered before is not given back."""
    invoice = priced(case)
    product_of = {each.grant.id: each.grant.product_ids[0] for each in case.credits.grants}
    credited = [each for each in invoice.adjustments if each.credit_grant_id in product_of]
    free = sum_of(each.amount.copy_negate() for each in invoice.adjustments if each.name == "Trial")
    assert add(free, sum_of(each.amount.copy_negate() for each in credited)) == invoice.subtotal
    assert invoice.total >= 0
    if case.trial is None:
        for product in product_of.values():
            paid = sum_of(
                each.amount.copy_negate()
                for each in credited
                if product_of[each.credit_grant_id or product] == product
            )
            lines = [line.total for line in invoice.lines if line.product_id == product]
            assert paid == sum_of(lines)


@THOROUGH
@given(growing_cases)
def test_the_oracle_covers_the_same(case: Case) -> None:
    ends = [*case.credits.used_until, (case.billed.held.end, case.usage)]
    wanted = bill_credited(
        case.plan,
        [(end, as_used(usage)) for end, usage in ends],
        case.billed.held.start,
        as_terms(case),
        [(each.grant, Fraction(each.available)) for each in case.credits.grants],
    )
    found = priced(case)
    assert [(a.name, Fraction(a.amount)) for a in found.adjustments] == list(wanted.adjustments)
    assert Fraction(found.total) == wanted.total >= 0


def test_the_cuts_of_these_tests_are_inside_the_period() -> None:
    assert cuts_of(NOVEMBER, [EARLY, LATE]) == [CUT]
