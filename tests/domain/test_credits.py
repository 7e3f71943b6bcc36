"""Credits: which grant pays for what, in which order, and what the ledger says."""

from datetime import datetime
from decimal import Decimal
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from services.domain.money import USD_CENTS
from services.domain.period import Period
from services.domain.plan import PlanCreditGrant
from services.domain.pricing.credits import (
    AvailableGrant,
    Deduction,
    Piece,
    apply_credits,
    cuts_of,
)
from services.domain.pricing.grant import CreditGrant, granted_by_plan
from services.domain.pricing.invoice import Credits, price_period
from services.domain.pricing.ledger import InvoiceDeduction, Ledger, available_to, ledger_of
from services.domain.schedule import BillingCycle, BillingFrequency, Schedule
from tests.domain.plan_parts import NOVEMBER, TOKENS, billed, charge, grant, plan, used, utc

ONE, TWO = UUID(int=11), UUID(int=12)


def piece(*amounts: int, start: datetime = NOVEMBER.start, end: datetime = NOVEMBER.end) -> Piece:
    """Amounts of the products ONE and TWO."""
    named = zip((ONE, TWO), map(Decimal, amounts), strict=False)
    return Piece(Period(start, end), dict(named))


def paid(
    pieces: list[Piece], *grants: CreditGrant, covered: int = 0, **left: int
) -> dict[str, int]:
    """By name of grant what it pays."""
    available = [
        AvailableGrant(each, Decimal(left.get(each.name.replace(" ", ""), each.amount)))
        for each in grants
    ]
    found = apply_credits(pieces, available, USD_CENTS.id, Decimal(covered))
    return {each.grant.name: int(each.amount) for each in found}


FIRST = grant("100", 1)
LATER = grant("100", 2, expires_at=utc(2027, 6))
URGENT = grant("100", 3, priority=Decimal("0.5"), expires_at=utc(2028, 1))
TWIN = grant("100", 4)


def test_priority_then_expiry_then_id_whatever_the_order_they_come_in() -> None:
    for order in permutations([FIRST, LATER, URGENT, TWIN]):
        assert list(paid([piece(350)], *order).items()) == [
            ("grant 3", 100),
            ("grant 1", 100),
            ("grant 4", 100),
            ("grant 2", 50),
        ]


def test_a_grant_pays_for_its_products_in_its_order() -> None:
    both = grant("100", product_ids=(TWO, ONE))
    rest = grant("100", 2, product_ids=(ONE,))
    assert paid([piece(80, 70)], both, rest) == {"grant 1": 100, "grant 2": 50}
    only = grant("100", product_ids=(TWO,))
    assert paid([piece(80, 70)], only) == {"grant 1": 70}
    assert paid([piece(80)], only) == {}


def test_credits_of_another_unit_or_with_nothing_left_pay_nothing() -> None:
    assert paid([piece(80)], grant("100", unit=TOKENS)) == {}
    assert paid([piece(80)], FIRST, grant1=0) == {}
    assert paid([piece(80)], FIRST, grant1=30) == {"grant 1": 30}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"expires_at": utc(2026, 11, 11)}, {"grant 1": 40}),
        ({"effective_at": utc(2026, 11, 11)}, {"grant 1": 60}),
        ({"expires_at": utc(2026, 11, 1)}, {}),  # exclusive
        ({"effective_at": utc(2026, 12, 1)}, {}),
        ({}, {"grant 1": 100}),
    ],
)
def test_a_grant_covers_what_is_dated_while_it_holds(
    fields: dict[str, Any], expected: dict[str, int]
) -> None:
    some = grant("100", **fields)
    cuts = cuts_of(NOVEMBER, [some])
    ends = [*cuts, NOVEMBER.end]
    pieces = [
        piece(amount, start=start, end=end)
        for start, end, amount in zip(
            [NOVEMBER.start, *cuts], ends, [40, 60] if cuts else [100], strict=True
        )
    ]
    assert paid(pieces, some) == expected


def test_a_period_is_cut_where_grants_begin_and_expire_inside_it() -> None:
    grants = [
        grant("1", 1, effective_at=utc(2026, 11, 20)),
        grant("1", 2, expires_at=utc(2026, 11, 5)),
        grant("1", 3, effective_at=NOVEMBER.start, expires_at=NOVEMBER.end),
        grant("1", 4, effective_at=utc(2026, 11, 5)),
    ]
    assert cuts_of(NOVEMBER, grants) == [utc(2026, 11, 5), utc(2026, 11, 20)]


def test_a_piece_is_what_was_used_in_it_at_the_prices_of_its_tiers() -> None:
    """1,488 hours, the first 1,000 at 10; 900 of them before the 11th. Credits from then on pay
    100 x 10 + 488 x 9."""
    hours = plan(charge(("0", "10"), ("1000", "9")))
    late = grant("100000", effective_at=utc(2026, 11, 11))
    available = Credits([AvailableGrant(late, late.amount)], [(utc(2026, 11, 11), used("900"))])
    invoice = price_period(hours, used("1488"), billed(), available=available)
    assert invoice.adjustments[0].amount == -(100 * 10 + 488 * 9)
    assert invoice.total == 9000


def test_what_a_piece_has_used_up_is_gone_for_the_next() -> None:
    pieces = [piece(80, end=utc(2026, 11, 11)), piece(80, start=utc(2026, 11, 11))]
    assert paid(pieces, FIRST) == {"grant 1": 100}


def test_a_grant_that_holds_for_a_part_of_an_uncut_piece_covers_none_of_it() -> None:
    parts: list[dict[str, Any]] = [
        {"expires_at": utc(2026, 11, 11)},
        {"effective_at": utc(2026, 11, 11)},
    ]
    for part in parts:
        assert paid([piece(80)], grant("100", **part)) == {}


def test_credits_do_not_look_ahead() -> None:
    """What was covered stays covered when usage falls later: the total goes below zero."""
    first = piece(100, end=utc(2026, 11, 11))
    assert paid([first, piece(-70, start=utc(2026, 11, 11))], grant("500")) == {"grant 1": 100}


def test_no_more_is_covered_than_a_piece_comes_to() -> None:
    assert paid([piece(100, -80)], grant("500")) == {"grant 1": 20}
    assert paid([piece(100, -180)], grant("500")) == {}


def test_what_a_trial_pays_is_not_paid_again() -> None:
    pieces = [piece(100, end=utc(2026, 11, 11)), piece(100, start=utc(2026, 11, 11))]
    assert paid(pieces, grant("500"), covered=130) == {"grant 1": 70}
    early = grant("500", expires_at=utc(2026, 11, 11))
    assert paid(pieces, early, covered=30) == {"grant 1": 70}


def test_a_deduction_names_its_grant() -> None:
    [found] = apply_credits([piece(9)], [AvailableGrant(FIRST, Decimal(5))], USD_CENTS.id)
    assert found == Deduction(FIRST, Decimal(5))


def taken(amount: str, invoice: int, month: int, pending: bool = False) -> InvoiceDeduction:
    return InvoiceDeduction(FIRST.id, UUID(int=invoice), Decimal(amount), utc(2026, month), pending)


def running(ledger: Ledger) -> list[tuple[str, int, int]]:
    entries = (*ledger.entries, *ledger.pending_entries)
    return [(e.reason.split()[-1], int(e.amount), int(e.running_balance)) for e in entries]


def test_the_ledger_adds_up() -> None:
    deductions = [taken("20", 2, 5, pending=True), taken("30", 3, 3), taken("10", 4, 2)]
    ledger = ledger_of(FIRST, deductions, utc(2026, 11), utc(2026, 12))
    assert running(ledger) == [
        ("grant", 100, 100),
        ("deduction", -10, 90),
        ("deduction", -30, 60),
        ("deduction", -20, 40),
    ]
    assert [entry.invoice_id for entry in ledger.pending_entries] == [UUID(int=2)]
    assert ledger.excluding_pending == 60
    assert ledger.including_pending == 40


def test_what_is_left_expires() -> None:
    ledger = ledger_of(FIRST, [taken("30", 3, 3)], utc(2027, 1), utc(2027, 2))
    assert running(ledger)[-1] == ("expiration", -70, 0)
    assert ledger.excluding_pending == ledger.including_pending == 0
    assert (
        ledger_of(FIRST, [taken("100", 3, 3)], utc(2027, 1), utc(2027, 2))
        .entries[-1]
        .reason.endswith("deduction")
    )


def test_a_draft_may_still_take_from_an_expired_grant() -> None:
    ledger = ledger_of(FIRST, [taken("30", 3, 12, pending=True)], utc(2027, 1), utc(2027, 2))
    assert running(ledger) == [
        ("grant", 100, 100),
        ("deduction", -30, 70),
        ("expiration", -70, 0),
    ]
    assert len(ledger.pending_entries) == 2


def test_a_grant_that_is_not_effective_yet_is_worth_nothing() -> None:
    ledger = ledger_of(FIRST, [], utc(2025, 1), utc(2025, 2))
    assert ledger.entries == ()
    assert ledger.including_pending == 0


@pytest.mark.parametrize(
    ("invoice", "month", "left"),
    [
        (1, 2, 60),  # before every draft: what is final counts
        (9, 4, 60),
        (9, 5, 40),  # after the draft of its own month with the lower id
        (1, 5, 60),
        (9, 7, 35),
        (2, 5, 60),  # its own deduction is made anew
    ],
)
def test_a_draft_sees_what_is_final_and_the_drafts_before_it(
    invoice: int, month: int, left: int
) -> None:
    deductions = [
        taken("40", 3, 8),
        taken("20", 2, 5, pending=True),
        taken("5", 4, 6, pending=True),
    ]
    [available] = available_to([FIRST], deductions, UUID(int=invoice), utc(2026, month))
    assert available.available == left


def test_two_drafts_never_spend_the_same_credits() -> None:
    """Priced in any order, then again with what the others took: together no more than there is."""
    amounts = {UUID(int=n): Decimal(70) for n in (1, 2)}
    deductions: dict[UUID, InvoiceDeduction] = {}
    for invoice_id in (UUID(int=2), UUID(int=1), UUID(int=2), UUID(int=1)):
        [left] = available_to([FIRST], deductions.values(), invoice_id, utc(2026, 12))
        amount = min(left.available, amounts[invoice_id])
        deductions[invoice_id] = InvoiceDeduction(FIRST.id, invoice_id, amount, utc(2026, 12), True)
    assert [int(deductions[each].amount) for each in amounts] == [70, 30]


def test_a_plan_grants_again_each_interval() -> None:
    monthly = Schedule(BillingFrequency.MONTHLY, BillingCycle.CALENDAR, utc(2026, 1, 10))
    granting = plan(
        charge(),
        credit_grants=(
            PlanCreditGrant("once", Decimal(9), USD_CENTS, Decimal(0), USD_CENTS, 2, Decimal(1)),
            PlanCreditGrant(
                "often", Decimal(5), USD_CENTS, Decimal(0), USD_CENTS, 1, Decimal(1),
                recurrence_interval=2, recurrence_duration=5,
            ),
        ),
    )  # fmt: skip
    found = [each for _, each in granted_by_plan(granting, monthly, UUID(int=8), utc(2026, 12))]
    assert [(each.name, each.effective_at, each.expires_at) for each in found] == [
        ("once", utc(2026, 1, 10), utc(2026, 3)),
        ("often", utc(2026, 1, 10), utc(2026, 2)),
        ("often", utc(2026, 3), utc(2026, 4)),
        ("often", utc(2026, 5), utc(2026, 6)),
    ]
    again = granted_by_plan(granting, monthly, UUID(int=8), utc(2026, 12))
    assert [each.id for _, each in again] == [each.id for each in found]
    assert len({each.id for each in found}) == 4


def test_a_plan_grants_after_its_trial() -> None:
    tried = Schedule(
        BillingFrequency.MONTHLY, BillingCycle.ANNIVERSARY, utc(2026, 1, 10), trial_days=5
    )
    once = PlanCreditGrant("once", Decimal(9), USD_CENTS, Decimal(0), USD_CENTS, 1, Decimal(1))
    [(granted, found)] = granted_by_plan(
        plan(charge(), credit_grants=(once,)), tried, UUID(int=8), utc(2026, 3)
    )
    assert granted is once
    assert found.effective_at == utc(2026, 1, 15)
    assert found.expires_at == utc(2026, 2, 15)
