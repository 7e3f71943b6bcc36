"""What is left of each credit grant for an invoice, once more and plainly, and grants of which more
was used than they gave. Within the caller's snapshot; fractions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from uuid import UUID

import asyncpg

from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.ledger import InvoiceDeduction
from services.domain.reference.numbers import plain_text
from services.ops.verify_differences import Differences
from services.runtime.credit_rows import (
    GRANT_COLUMNS,
    STANDING,
    credits_of,
    grant_of,
    read_deductions,
)
from services.runtime.plan_rows import Units, read_units

_GRANTS = f"SELECT {GRANT_COLUMNS}, {STANDING} AS standing FROM credit_grant g"  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True)
class Credited:
    """All grants, and what invoices say that they take of them."""

    standing: Mapping[UUID, list[CreditGrant]]  # by customer
    grants: Mapping[UUID, CreditGrant]  # void ones too
    deductions: Mapping[UUID, list[InvoiceDeduction]]  # by customer
    units: Units

    def left_for(self, row: asyncpg.Record, unit_id: UUID) -> list[tuple[CreditGrant, Fraction]]:
        """The grants that may pay for an invoice, with what the others leave of each: final ones,
        and drafts that come before it. `row`: id, customer_id, status, starts_at, ends_at and
        credits of an invoice."""
        if row["status"] == "FINALIZED":
            had = () if row["credits"] is None else credits_of(row["credits"], self.units)
            return [(each.grant, Fraction(each.available)) for each in had]
        start, end = row["starts_at"].astimezone(UTC), row["ends_at"].astimezone(UTC)
        return [
            (grant, max(self._left(grant, row["customer_id"], (end, row["id"])), Fraction(0)))
            for grant in self.standing.get(row["customer_id"], ())
            if grant.unit.id == unit_id and grant.effective_at < end and grant.expires_at > start
        ]

    def _left(
        self, grant: CreditGrant, customer_id: UUID, place: tuple[datetime, UUID]
    ) -> Fraction:
        left = Fraction(grant.amount)
        for each in self.deductions.get(customer_id, ()):
            before = not each.pending or (each.effective_at, each.invoice_id) < place
            if each.grant_id == grant.id and each.invoice_id != place[1] and before:
                left -= Fraction(each.amount)
        return left

    def find_overspent(self, differences: Differences) -> None:
        """Final invoices together never take more than a grant gave."""
        used: dict[UUID, Fraction] = {}
        for each in (each for every in self.deductions.values() for each in every):
            if not each.pending:
                used[each.grant_id] = used.get(each.grant_id, Fraction(0)) + Fraction(each.amount)
        for grant_id, amount in used.items():
            grant = self.grants.get(grant_id)
            given = Fraction(0) if grant is None else Fraction(grant.amount)
            if amount > given:
                differences.add(
                    f"credit grant {grant_id}: used by finalized invoices",
                    f"at most {plain_text(given)}",
                    plain_text(amount),
                )


async def read_credited(connection: asyncpg.Connection) -> Credited:
    """As of the connection's snapshot."""
    units = await read_units(connection)
    standing: dict[UUID, list[CreditGrant]] = {}
    grants: dict[UUID, CreditGrant] = {}
    customers: set[UUID] = set()
    for row in await connection.fetch(_GRANTS):
        grant = grants[row["id"]] = grant_of(row, units)
        customers.add(row["customer_id"])
        if row["standing"]:
            standing.setdefault(row["customer_id"], []).append(grant)
    return Credited(standing, grants, await read_deductions(connection, customers), units)
