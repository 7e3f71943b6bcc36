"""The invoice document that a deep verify expects is the one that pricing writes, made by separate
code; and any leaf of it that is changed is found.
"""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.domain.period import Period
from services.domain.plan import Plan
from services.domain.pricing.invoice import price_invoice
from services.domain.reference.bill import Bounds, Span, bill_of
from services.ops.verify_drafts import differing, document_of
from services.runtime.invoice_document import render
from services.runtime.json import decode_json
from tests.domain.strategies import decimals
from tests.domain.test_reference import plans

START, END = datetime(2026, 11, 9, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def documents(plan: Plan, one: Decimal, two: Decimal) -> tuple[dict[str, object], Any]:
    """(expected, written) for the same quantities."""
    quantities = {UUID(int=1): one, UUID(int=2): two}
    span = Span(UUID(int=9), frozenset(), plan, START, None)
    exact = {metric: Fraction(value) for metric, value in quantities.items()}
    expected = document_of(span, bill_of(plan, exact), Bounds(START, END))
    written = render(plan, price_invoice(plan, quantities), Period(START, END))
    return expected, decode_json(written)


@given(plans, decimals(12, 12), decimals(20, 20))
def test_pricing_writes_what_is_expected(plan: Plan, one: Decimal, two: Decimal) -> None:
    expected, written = documents(plan, one, two)
    assert list(differing(expected, written, "")) == []


def leaves(value: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Places of everything in a document that holds no more."""
    if isinstance(value, dict):
        return [leaf for name, part in value.items() for leaf in leaves(part, (*place, name))]
    if isinstance(value, list):
        parts = enumerate(value)
        return [leaf for index, part in parts for leaf in leaves(part, (*place, index))]
    return [place]


@given(plans.filter(lambda plan: plan.charges), decimals(12, 12), st.data())
def test_any_leaf_that_is_changed_or_gone_is_found(
    plan: Plan, quantity: Decimal, data: st.DataObject
) -> None:
    expected, written = documents(plan, quantity, quantity)
    *path, last = data.draw(st.sampled_from(leaves(written)))
    holder = written
    for step in path:
        holder = holder[step]
    held = holder[last]
    if data.draw(st.booleans()):
        holder[last] = held + 1 if isinstance(held, int | Decimal) else f"{held}?"
    else:
        del holder[last]
    [(where, _, _)] = differing(expected, written, "")
    assert str(last) in where
