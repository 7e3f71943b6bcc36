"""Which step an invoice may take when: grace, the log's positions, void, regenerate, plan ends."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.invoice_life import (
    GRACE,
    InvoiceState,
    InvoiceStatus,
    PlanEnd,
    Refused,
    Step,
    end_plan,
    finality,
    regenerate,
    status_after,
)
from services.domain.period import Period
from tests.domain.plan_parts import NOVEMBER, utc

DRAFT, FINALIZED, VOID = InvoiceStatus
DUE = NOVEMBER.end + GRACE
FINAL = InvoiceState(UUID(int=1), FINALIZED, NOVEMBER)

ALLOWED = {
    (DRAFT, Step.PRICE): DRAFT,
    (DRAFT, Step.FINALIZE): FINALIZED,
    (DRAFT, Step.ARCHIVE): VOID,
    (FINALIZED, Step.VOID): VOID,
    (VOID, Step.REGENERATE): VOID,
}


@pytest.mark.parametrize(("status", "step"), list(product(InvoiceStatus, Step)))
def test_only_these_steps_are_taken(status: InvoiceStatus, step: Step) -> None:
    after = status_after(replace(FINAL, status=status), step)
    if (status, step) in ALLOWED:
        assert after is ALLOWED[status, step]
    else:
        assert isinstance(after, Refused)
        assert str(FINAL.id) in after.reason


def test_a_finalized_invoice_is_never_priced_or_finalized_again() -> None:
    for step in (Step.PRICE, Step.FINALIZE, Step.ARCHIVE, Step.REGENERATE):
        assert isinstance(status_after(FINAL, step), Refused)


def test_regenerate_makes_a_new_draft_that_points_back_once() -> None:
    void = replace(FINAL, status=VOID)
    made = regenerate(void, UUID(int=2))
    assert made == InvoiceState(UUID(int=2), DRAFT, NOVEMBER, regenerated_from=FINAL.id)
    again = regenerate(replace(void, regenerated_as=UUID(int=2)), UUID(int=3))
    assert isinstance(again, Refused)
    assert isinstance(regenerate(FINAL, UUID(int=2)), Refused)
    assert isinstance(regenerate(replace(FINAL, status=DRAFT), UUID(int=2)), Refused)


MICROSECOND = timedelta(microseconds=1)


def test_a_draft_waits_for_the_grace() -> None:
    assert finality(NOVEMBER.end, DUE, {0: 5}, {0: 5}).reached
    early = finality(NOVEMBER.end, DUE - MICROSECOND, {0: 5}, {0: 5})
    assert early.in_grace
    assert not early.reached
    none = timedelta(0)
    assert finality(NOVEMBER.end, NOVEMBER.end, {0: 5}, {0: 5}, none).reached
    assert not finality(NOVEMBER.end, NOVEMBER.end - MICROSECOND, {0: 5}, {0: 5}, none).reached


@pytest.mark.parametrize(
    ("positions", "behind"),
    [
        ({0: 5, 1: 7}, ()),
        ({0: 99, 1: 99}, ()),
        ({0: 4, 1: 7}, (0,)),
        ({0: 4, 1: 6}, (0, 1)),
        ({0: 5}, (1,)),  # a partition that was never counted
        ({}, (0, 1)),
    ],
)
def test_a_draft_waits_for_every_partition(
    positions: dict[int, int], behind: tuple[int, ...]
) -> None:
    found = finality(NOVEMBER.end, DUE, positions, {0: 5, 1: 7, 2: 0})
    assert found.partitions_behind == behind
    assert found.reached is (behind == ())


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20)), max_size=20),
    st.integers(0, 20),
    st.integers(-30, 30),
)
def test_what_was_accepted_before_the_instant_is_in_every_final_invoice(
    records: list[tuple[int, int]], position: int, minutes: int
) -> None:
    """A log of one partition, by minutes around the instant: whenever the draft may be final, the
    projector has counted every record that the log took before it."""
    times = sorted(DUE + timedelta(minutes=tens * 10 + ones - 60) for tens, ones in records)
    position = min(position, len(times))
    offset = next((o for o, at in enumerate(times) if at >= DUE), len(times))
    found = finality(NOVEMBER.end, DUE + timedelta(minutes=minutes), {0: position}, {0: offset})
    if found.reached:
        assert minutes >= 0
        assert all(at >= DUE for at in times[position:])


def invoice(number: int, month: int, status: InvoiceStatus) -> InvoiceState:
    return InvoiceState(UUID(int=number), status, Period(utc(2026, month), utc(2026, month + 1)))


INVOICES = [
    invoice(1, 8, FINALIZED),
    invoice(2, 9, FINALIZED),
    invoice(3, 9, VOID),
    invoice(4, 10, DRAFT),
    invoice(5, 11, DRAFT),
]


def ids(*numbers: int) -> tuple[UUID, ...]:
    return tuple(UUID(int=number) for number in numbers)


def test_a_plan_that_ends_inside_a_period_shortens_its_draft() -> None:
    assert end_plan(INVOICES, utc(2026, 10, 15)) == PlanEnd((), ids(5), ids(4))
    assert end_plan(INVOICES, utc(2026, 12)) == PlanEnd((), (), ())
    assert end_plan(INVOICES, utc(2026, 10)) == PlanEnd((), ids(4, 5), ())


def test_a_plan_ends_before_a_final_invoice_only_by_voiding_it() -> None:
    refused = end_plan(INVOICES, utc(2026, 9, 15))
    assert isinstance(refused, Refused)
    assert "2026-10-01" in refused.reason
    assert end_plan(INVOICES, utc(2026, 9, 15), void_invoices=True) == PlanEnd(
        ids(2), ids(4, 5), ()
    )
