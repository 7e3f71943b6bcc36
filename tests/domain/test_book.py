"""The credits of invoices that are priced together: what each finds left, and whose share moved."""

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.domain.money import USD_CENTS
from services.domain.period import Period, next_month
from services.domain.pricing.book import CreditBook, Taker
from services.domain.pricing.credits import AvailableGrant
from services.domain.pricing.ledger import InvoiceDeduction
from tests.domain.plan_parts import TOKENS, grant, utc

CUSTOMER = UUID(int=1)
GRANT = grant("100", effective_at=utc(2026, 1, 10))


def taker(month: int, invoice: int = 50) -> Taker:
    """An invoice of a month of 2026."""
    period = Period(utc(2026, month), next_month(utc(2026, month)))
    return Taker(UUID(int=invoice), CUSTOMER, period, USD_CENTS.id)


def takes(invoice: Taker, amount: int, *, pending: bool = True) -> InvoiceDeduction:
    """What it takes of the grant."""
    end: datetime = invoice.period.end
    return InvoiceDeduction(GRANT.id, invoice.invoice_id, Decimal(amount), end, pending)


@given(st.lists(st.tuples(st.integers(1, 11), st.integers(1, 60)), min_size=1, max_size=12))
def test_invoices_in_their_order_spend_what_there_is_once(wants: list[tuple[int, int]]) -> None:
    invoices = {taker(month, number): want for number, (month, want) in enumerate(wants)}
    # Whatever they took before, as drafts.
    old = {CUSTOMER: [takes(invoice, 1 + want // 2) for invoice, want in invoices.items()]}
    book = CreditBook({CUSTOMER: [GRANT]}, old)
    left = 100
    for invoice in sorted(invoices, key=lambda each: each.place):
        [found] = book.available(invoice)
        assert found.available == left
        part = min(invoices[invoice], left)
        book.take(invoice, [takes(invoice, part)] if part else [])
        left -= part
    # Once more, nothing moves.
    moved = list(book.moved)
    for invoice in sorted(invoices, key=lambda each: each.place):
        [found] = book.available(invoice)
        part = min(invoices[invoice], int(found.available))
        book.take(invoice, [takes(invoice, part)] if part else [])
    assert book.moved == moved


def test_a_share_has_moved_when_it_is_another_one() -> None:
    november = taker(11)
    book = CreditBook({CUSTOMER: [GRANT]}, {CUSTOMER: [takes(november, 30)]})
    book.take(november, [takes(november, 30)])
    assert book.moved == []
    book.take(november, [takes(november, 31)])
    book.take(november, [])
    assert [(each.taker, each.grant_id) for each in book.moved] == [(november, GRANT.id)] * 2


def test_final_invoices_count_whenever_they_are_and_later_drafts_do_not() -> None:
    deductions = [takes(taker(12, 7), 20, pending=False), takes(taker(12, 8), 40)]
    book = CreditBook({CUSTOMER: [GRANT]}, {CUSTOMER: deductions})
    assert [each.available for each in book.available(taker(11))] == [80]


def test_what_was_settled_stays_and_takes_from_nobody() -> None:
    november, had = taker(11), [AvailableGrant(grant("9", 3), Decimal(5))]
    book = CreditBook({CUSTOMER: [GRANT]}, {}, {november.invoice_id: had})
    assert book.available(november) == had
    book.take(november, [takes(november, 100)])
    assert book.moved == []
    assert [each.available for each in book.available(taker(12, 51))] == [100]


def test_only_grants_that_hold_in_the_period_and_its_unit_matter() -> None:
    others = [grant("1", 7, unit=TOKENS), grant("1", 8, expires_at=utc(2026, 1, 2))]
    book = CreditBook({CUSTOMER: [GRANT, *others]}, {})
    assert [each.grant for each in book.available(taker(2))] == [GRANT]
    assert book.cuts(taker(1)) == [utc(2026, 1, 2), utc(2026, 1, 10)]
    assert book.cuts(taker(2)) == []
    assert book.concerns(CUSTOMER, UUID(int=9))
    assert not book.concerns(UUID(int=2), UUID(int=9))
    assert not CreditBook({}, {})
