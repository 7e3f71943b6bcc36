"""The credits of invoices that are priced together: what is left of each grant for the next one,
and whose share has moved. Pure; prices nothing.

Invoices are priced in the order in which they take credits: by the end of their periods, then by id
(`ledger`). An invoice that is settled keeps what it had available once, whatever happened since.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from services.domain.period import Period
from services.domain.pricing.credits import AvailableGrant, cuts_of
from services.domain.pricing.grant import CreditGrant
from services.domain.pricing.ledger import InvoiceDeduction, available_to

_NONE: Mapping[UUID, Sequence[AvailableGrant]] = MappingProxyType({})


class Taker(NamedTuple):
    """An invoice, and the credits that can pay for it: of one customer, in one pricing unit."""

    invoice_id: UUID
    customer_id: UUID
    period: Period
    unit_id: UUID

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Sorts invoices into the order in which they take credits."""
        return self.period.end, self.invoice_id


class Moved(NamedTuple):
    """An invoice takes something else from a grant than before, so the drafts after it are stale
    as far as the grant can pay for them."""

    taker: Taker
    grant_id: UUID


class CreditBook:
    """What some customers were granted, and what their invoices take; kept as they are priced."""

    def __init__(
        self,
        grants: Mapping[UUID, Sequence[CreditGrant]],
        deductions: Mapping[UUID, Iterable[InvoiceDeduction]],
        settled: Mapping[UUID, Sequence[AvailableGrant]] = _NONE,
    ) -> None:
        """`grants`: by customer, empty for one that has none any more; `deductions`: by customer,
        as they stand; `settled`: by invoice, what it had available."""
        self._grants = grants
        self._taken: dict[UUID, dict[UUID, list[InvoiceDeduction]]] = {}
        for customer_id, every in deductions.items():
            of_customer = self._taken.setdefault(customer_id, {})
            for deduction in every:
                of_customer.setdefault(deduction.invoice_id, []).append(deduction)
        self._settled = settled
        self.given: dict[UUID, Sequence[AvailableGrant]] = {}
        self.moved: list[Moved] = []

    def __bool__(self) -> bool:
        """Whether any invoice is concerned."""
        return bool(self._grants or self._settled)

    def concerns(self, customer_id: UUID, invoice_id: UUID) -> bool:
        """Whether an invoice has to be asked about at all."""
        return customer_id in self._grants or invoice_id in self._settled

    def cuts(self, taker: Taker) -> list[datetime]:
        """Where a grant begins or expires inside the period, in order."""
        settled = self._settled.get(taker.invoice_id)
        grants = self._holding(taker) if settled is None else [each.grant for each in settled]
        return cuts_of(taker.period, grants)

    def available(self, taker: Taker) -> Sequence[AvailableGrant]:
        """What is left for an invoice; kept in `given`."""
        found: Sequence[AvailableGrant] | None = self._settled.get(taker.invoice_id)
        if found is None:
            taken = self._taken.get(taker.customer_id, {})
            deductions = [deduction for every in taken.values() for deduction in every]
            found = available_to(
                self._holding(taker), deductions, taker.invoice_id, taker.period.end
            )
        self.given[taker.invoice_id] = found
        return found

    def take(self, taker: Taker, deductions: Sequence[InvoiceDeduction]) -> None:
        """An invoice was priced, and takes so much now."""
        if taker.invoice_id in self._settled:
            return
        of_customer = self._taken.setdefault(taker.customer_id, {})
        before = {each.grant_id: each.amount for each in of_customer.get(taker.invoice_id, ())}
        after = {each.grant_id: each.amount for each in deductions}
        of_customer[taker.invoice_id] = list(deductions)
        self.moved += [
            Moved(taker, grant_id)
            for grant_id in {**before, **after}
            if before.get(grant_id) != after.get(grant_id)
        ]

    def _holding(self, taker: Taker) -> list[CreditGrant]:
        """The grants that hold at any time of the period, in the invoice's unit."""
        return [
            grant
            for grant in self._grants.get(taker.customer_id, ())
            if grant.unit.id == taker.unit_id
            and grant.effective_at < taker.period.end
            and taker.period.start < grant.expires_at
        ]
