"""Ledgers of grants and statements of customers: they add up, wherever time is cut."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.domain.pricing.ledger import (
    DEDUCTED,
    EXPIRED,
    GRANTED,
    InvoiceDeduction,
    Ledger,
    ledger_of,
)
from services.domain.pricing.statement import Balance, statement_of
from tests.domain.plan_parts import grant, utc

NOW, UNTIL = utc(2026, 11, 24), utc(2026, 12)


def both(balance: Ledger | Balance) -> tuple[int, int]:
    """Without and with what is pending."""
    return int(balance.excluding_pending), int(balance.including_pending)


def taken(
    amount: int, grant_number: int, invoice: int, month: int, pending: bool = False
) -> InvoiceDeduction:
    """From a grant of `plan_parts.grant`, at the start of a month."""
    return InvoiceDeduction(
        UUID(int=500 + grant_number), UUID(int=invoice), Decimal(amount), utc(2026, month), pending
    )


def reasons(ledger: Ledger) -> tuple[list[str], list[str]]:
    return [e.reason for e in ledger.entries], [e.reason for e in ledger.pending_entries]


def test_what_will_expire_in_this_period_is_pending_and_counts_until_then() -> None:
    ledger = ledger_of(grant("100", expires_at=utc(2026, 11, 30)), [], NOW, UNTIL)
    assert reasons(ledger) == ([GRANTED], [EXPIRED])
    assert both(ledger) == (100, 0)


def test_what_expires_with_the_period_is_not_foreseen() -> None:
    ledger = ledger_of(grant("100", expires_at=UNTIL), [taken(30, 1, 1, 12, True)], NOW, UNTIL)
    assert reasons(ledger) == ([GRANTED], [DEDUCTED])
    assert both(ledger) == (100, 70)


def test_an_expiry_before_the_invoice_of_its_period_takes_what_that_leaves() -> None:
    early = grant("100", expires_at=utc(2026, 11, 10))
    ledger = ledger_of(early, [taken(30, 1, 1, 12)], utc(2026, 12, 2), utc(2027, 1))
    assert [(e.reason, int(e.amount), int(e.running_balance)) for e in ledger.entries] == [
        (GRANTED, 100, 100),
        (EXPIRED, -70, 30),
        (DEDUCTED, -30, 0),
    ]


def test_one_running_balance_over_all_grants_and_at_one_instant_ends_come_first() -> None:
    first = grant("100", 1, expires_at=utc(2026, 10))
    second = grant("50", 2, effective_at=utc(2026, 10))
    deductions = [taken(40, 1, 7, 10), taken(20, 2, 8, 11), taken(5, 2, 9, 12, True)]
    every = [ledger_of(each, deductions, NOW, UNTIL) for each in (second, first)]
    statement = statement_of(every, None, None, UNTIL)
    assert [(e.reason, int(e.running_balance)) for e in statement.entries] == [
        (GRANTED, 100),
        (DEDUCTED, 60),
        (EXPIRED, 0),
        (GRANTED, 50),
        (DEDUCTED, 30),
    ]
    [pending] = statement.pending_entries
    assert (int(pending.running_balance), pending.effective_at) == (25, UNTIL)
    assert (both(statement.starting), statement.starting.effective_at) == ((0, 0), utc(2026, 1))
    assert both(statement.ending) == (30, 25)
    assert statement.ending.effective_at == UNTIL


def test_an_end_that_was_asked_for_is_exclusive() -> None:
    ledger = ledger_of(grant("100"), [taken(40, 1, 7, 11)], NOW, UNTIL)
    november = utc(2026, 11)
    before = statement_of([ledger], None, november, UNTIL)
    assert [e.reason for e in before.entries] == [GRANTED]
    assert before.ending.excluding_pending == 100
    since = statement_of([ledger], november, None, UNTIL)
    assert [e.reason for e in since.entries] == [DEDUCTED]
    assert both(since.starting) == (100, 100)
    assert both(since.ending) == (60, 60)


days = st.integers(0, 400).map(lambda count: utc(2026, 1) + timedelta(days=count))


@given(
    spans=st.lists(st.tuples(days, days).filter(lambda pair: pair[0] < pair[1]), max_size=4),
    shares=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 25), st.integers(1, 12), st.booleans()),
        max_size=4,
    ),
    cuts=st.lists(days, min_size=2, max_size=4, unique=True).map(sorted),
)
def test_statements_add_up_and_follow_on(
    spans: list[tuple[datetime, datetime]],
    shares: list[tuple[int, int, int, bool]],
    cuts: list[datetime],
) -> None:
    grants = [
        grant("100", number, effective_at=begins, expires_at=expires)
        for number, (begins, expires) in enumerate(spans)
    ]
    deductions = [
        taken(amount, number, invoice, month, pending)
        for invoice, (number, amount, month, pending) in enumerate(shares, 1)
    ]
    every = [ledger_of(each, deductions, NOW, UNTIL) for each in grants]
    statements = [statement_of(every, start, end, UNTIL) for start, end in pairwise(cuts)]
    for each in statements:
        posted = sum(entry.amount for entry in each.entries)
        pending = sum(entry.amount for entry in each.pending_entries)
        assert each.starting.excluding_pending + posted == each.ending.excluding_pending
        including = each.starting.including_pending + posted + pending
        assert including == each.ending.including_pending
    for one, following in pairwise(statements):
        assert one.ending == following.starting
    whole = statement_of(every, None, None, UNTIL)
    assert whole.starting.including_pending == 0
    for entries in (whole.entries, whole.pending_entries):
        times = [entry.effective_at for entry in entries]
        assert times == sorted(times)
