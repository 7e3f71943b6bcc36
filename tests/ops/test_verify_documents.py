"""The invoice document that a deep verify expects is the one that pricing writes, made by separate
code; and any leaf of it that is changed is found.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain import plan as limits
from services.domain.pricing.invoice import price_period
from services.domain.pricing.terms import OverageRateAdjustment, PlanTerms
from services.domain.pricing.usage import PeriodUsage
from services.domain.pricing.whole import TrialTerms
from services.domain.reference.bill import Span, periods_of
from services.domain.reference.price import bill_period
from services.domain.reference.terms import Terms
from services.domain.schedule import BillingCycle, BillingFrequency, Schedule
from services.ops.verify_document import differing, document_of
from services.projector.drafts import StaleDraft, draft_of
from services.runtime.customer_terms import CustomerTerms
from services.runtime.invoice_document import render
from services.runtime.json import decode_json
from tests.domain.pricing_cases import (
    EUROS,
    THOROUGH,
    TOKENS,
    adjustments_of,
    amount_of,
    as_used,
    plan_of,
    seeds,
    usage_of,
)

BEGINS = datetime(2025, 1, 9, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """A period of a customer's plan, with what was used in it."""

    terms: CustomerTerms
    span: Span
    place: int  # of the period, among the plan's
    draft: StaleDraft
    usage: PeriodUsage


def case_of(random: Random) -> Case:
    """Any plan, with any terms of the customer's own, over one to fourteen months."""
    plan = replace(
        plan_of(random),
        billing_frequency=random.choice(tuple(BillingFrequency)),
        billing_cycle=random.choice(tuple(BillingCycle)),
    )
    own = adjustments_of(random, plan)
    rates = [OverageRateAdjustment(TOKENS.id, EUROS.id, amount_of(random))]
    overage = random.choice(([], rates))
    trial_days = random.choice((0, 0, 0, 17))
    trial = random.choice((TrialTerms(), TrialTerms(Decimal(50)))) if trial_days else None
    cap = None if trial is None else trial.spending_cap
    ends = BEGINS + timedelta(days=random.randint(30, 430))
    begins = BEGINS + timedelta(days=random.randint(0, 25))
    schedule = Schedule(plan.billing_frequency, plan.billing_cycle, begins, ends, trial_days)
    periods = list(schedule.periods(begins, ends))
    place = random.randrange(len(periods))
    terms = CustomerTerms(
        UUID(int=7),
        UUID(int=8),
        plan,
        PlanTerms(plan, own, overage),
        schedule,
        trial,
        carries_on=False,
    )
    draft = draft_of(UUID(int=6), terms, periods[place])
    earlier = tuple(usage_of(random, 0) for _ in draft.earlier)
    return Case(
        terms,
        Span(
            UUID(int=7),
            frozenset(),
            plan,
            begins,
            ends,
            own,
            {rate.fiat_id: rate.to_fiat_conversion_factor for rate in overage},
            trial_days,
            None if cap is None else Fraction(cap),
        ),
        place,
        draft,
        usage_of(random, 0)._replace(earlier=earlier),
    )


cases = seeds.map(case_of)


def written(case: Case) -> Any:
    """By the domain, as the projector writes it."""
    draft = case.draft
    priced = price_period(draft.plan, case.usage, draft.billed, draft.trial)
    return decode_json(render(draft.plan, priced, draft.billed, draft.windows))


def expected(case: Case) -> dict[str, object]:
    """By the oracle."""
    span = case.span
    periods = periods_of(span, BEGINS)
    days = periods[case.place]
    terms = Terms(
        number=days.number,
        days=((days.end - days.start).days, days.days_whole),
        adjustments=span.adjustments,
        overage=span.overage,
        trial=days.trial,
        trial_cap=span.trial_cap if days.trial else None,
    )
    bill = bill_period(span.plan, as_used(case.usage), terms)
    return document_of(span, bill, periods, case.place)


@THOROUGH
@given(cases)
def test_pricing_writes_what_is_expected(case: Case) -> None:
    assert list(differing(expected(case), written(case), "")) == []


@given(cases, st.integers(1, 2))
def test_with_more_groups_than_have_lines_too(case: Case, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "GROUP_LINES_MAX", most)
        assert list(differing(expected(case), written(case), "")) == []


@given(cases)
def test_the_same_input_gives_the_same_bytes(case: Case) -> None:
    draft = case.draft
    priced = price_period(draft.plan, case.usage, draft.billed, draft.trial)
    once = render(draft.plan, priced, draft.billed, draft.windows)
    afresh = PlanTerms(case.terms.plan, case.span.adjustments).of(draft.billed)
    if not case.span.overage:
        priced = price_period(afresh, case.usage, draft.billed, draft.trial)
        assert render(afresh, priced, draft.billed, draft.windows) == once


def leaves(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Places of everything in a document that holds no more."""
    if isinstance(value, dict):
        return [leaf for name, part in value.items() for leaf in leaves(part, (*place, name))]
    if isinstance(value, list):
        parts = enumerate(value)
        return [leaf for index, part in parts for leaf in leaves(part, (*place, index))]
    return [place]


@given(cases, st.data())
def test_any_leaf_that_is_changed_or_gone_is_found(case: Case, data: st.DataObject) -> None:
    document = written(case)
    *path, last = data.draw(st.sampled_from(leaves(document)))
    holder = document
    for step in path:
        holder = holder[step]
    held = holder[last]
    if held is None or data.draw(st.booleans()):
        holder[last] = held + 1 if isinstance(held, int | Decimal) else f"{held}?"
    else:
        del holder[last]
    [(where, _, _)] = differing(expected(case), document, "")
    assert str(last) in where
