"""What a deep verify finds left of grants, and grants of which more was used than they gave."""

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from services.domain.money import USD_CENTS
from services.domain.pricing.ledger import InvoiceDeduction, available_to
from services.ops.verify_credits import Credited
from services.ops.verify_differences import Differences
from tests.domain.plan_parts import grant

CUSTOMER, SELF = UUID(int=1), UUID(int=50)
GRANT = grant("100", effective_at=datetime(2026, 1, 1, tzinfo=UTC))
START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


def taken(amount: str, invoice: int, month: int, *, pending: bool) -> InvoiceDeduction:
    """By an invoice of a period that ends with a month's first day."""
    at = datetime(2026 + month // 13, (month - 1) % 12 + 1, 1, tzinfo=UTC)
    return InvoiceDeduction(GRANT.id, UUID(int=invoice), Decimal(amount), at, pending)


def credited(*deductions: InvoiceDeduction) -> Credited:
    """One grant, of which invoices take so much."""
    return Credited({CUSTOMER: [GRANT]}, {GRANT.id: GRANT}, {CUSTOMER: list(deductions)}, {})


def test_the_same_is_left_as_pricing_finds() -> None:
    deductions = [
        taken("1", 10, 11, pending=True),  # before it
        taken("2", 49, 12, pending=True),  # with it, of a lower id
        taken("4", 50, 12, pending=True),  # its own
        taken("8", 51, 12, pending=True),
        taken("16", 12, 13, pending=True),
        taken("32", 13, 13, pending=False),  # final, whenever
    ]
    row: Any = {
        "id": SELF,
        "customer_id": CUSTOMER,
        "status": "DRAFT",
        "starts_at": START,
        "ends_at": END,
        "credits": None,
    }
    found = credited(*deductions).left_for(row, USD_CENTS.id)
    assert found == [(GRANT, Fraction(100 - 1 - 2 - 32))]
    [priced] = available_to([GRANT], deductions, SELF, END)
    assert Fraction(priced.available) == found[0][1]
    assert (
        credited().left_for({**row, "ends_at": datetime(2026, 1, 1, tzinfo=UTC)}, USD_CENTS.id)
        == []
    )
    assert credited().left_for(row, UUID(int=7)) == []


def test_more_used_than_given_is_found() -> None:
    differences = Differences()
    pending = taken("1", 12, 12, pending=True)
    credited(
        taken("60", 10, 11, pending=False), taken("40", 11, 12, pending=False), pending
    ).find_overspent(differences)
    assert differences.count == 0
    credited(taken("60", 10, 11, pending=False), taken("41", 11, 12, pending=False)).find_overspent(
        differences
    )
    [found] = differences.first
    assert str(GRANT.id) in found.where
    assert (found.expected, found.found) == ("at most 100", "101")
