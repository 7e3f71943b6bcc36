"""The port to drafts: which are stale, what was used, what was priced."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple, Protocol
from uuid import UUID

from services.domain.period import Period
from services.domain.plan import Plan


class StaleDraft(NamedTuple):
    """One invoice to price: a period of a customer's plan. `whole_month`: the period is a whole
    calendar month, so month totals answer for it."""

    invoice_id: UUID
    customer_id: UUID
    plan: Plan
    period: Period
    whole_month: bool


class PricedDraft(NamedTuple):
    """What is written back: the document is the computed part of the Invoice object, JSON."""

    invoice_id: UUID
    document: bytes


class DraftBatch(Protocol):
    """Stale drafts that this transaction holds locked; written back together."""

    @property
    def taken(self) -> int:
        """How many marks were taken from the work list; 0 when it was empty."""
        ...

    @property
    def drafts(self) -> Sequence[StaleDraft]: ...

    async def quantities(self) -> Mapping[UUID, Mapping[UUID, Decimal]]:
        """Invoice id -> billable metric id -> metered value in the invoice's period."""
        ...

    async def write(self, priced: Sequence[PricedDraft], priced_at: datetime) -> None:
        """Store the priced documents, with the as_of of the usage in them."""
        ...


class Drafts(Protocol):
    """The work list of the pricing step."""

    def take(self, count_max: int) -> AbstractAsyncContextManager[DraftBatch]:
        """Take marks and lock their invoices; the marks are gone when the context ends well."""
        ...

    async def open_periods(self, now: datetime) -> int:
        """Mark every plan that holds at `now` and has no invoice for this month yet; returns how
        many. A draft exists from the start of its period, even before any usage."""
        ...
