"""The port to drafts: which are stale, what was used, what was priced."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, Protocol
from uuid import UUID

from services.domain.period import Period, next_month
from services.domain.plan import Plan
from services.domain.pricing.book import CreditBook, Taker
from services.domain.pricing.charge import periods_needed
from services.domain.pricing.usage import PeriodUsage
from services.domain.pricing.whole import TrialTerms
from services.domain.schedule import BilledPeriod, Schedule
from services.runtime.customer_terms import CustomerTerms

_MOMENT = timedelta(microseconds=1)
_NONE: Mapping[int, Period] = MappingProxyType({})


class StaleDraft(NamedTuple):
    """One invoice to price: a period of a customer's plan. `plan`: as it is in that period.
    `earlier`: the periods that its tiers run on from, the oldest first. `windows`: over which time
    tiers run, by the number of periods where that is more than one."""

    invoice_id: UUID
    customer_id: UUID
    plan: Plan
    billed: BilledPeriod
    trial: TrialTerms | None = None
    earlier: tuple[Period, ...] = ()
    windows: Mapping[int, Period] = _NONE

    @property
    def period(self) -> Period:
        """The part of the billing period in which the plan holds."""
        return self.billed.held

    @property
    def taker(self) -> Taker:
        """Who takes credits."""
        return Taker(self.invoice_id, self.customer_id, self.period, self.plan.unit.id)


UsedUntil = Mapping[UUID, Sequence[tuple[datetime, PeriodUsage]]]
"""By invoice id, what was used up to each instant at which a grant begins or expires."""


class DraftCredits(NamedTuple):
    """What can be paid for with credits."""

    book: CreditBook
    used_until: UsedUntil


NO_CREDITS = DraftCredits(CreditBook({}, {}), {})


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

    async def quantities(self) -> Mapping[UUID, PeriodUsage]:
        """Invoice id -> what was used in the invoice's period, and in those it runs on from."""
        ...

    async def credits(self, quantities: Mapping[UUID, PeriodUsage]) -> DraftCredits:
        """What the drafts may pay with credits: of their customers' grants, which are held until
        the end of the transaction, so that nobody else takes from them."""
        ...

    def held(self) -> AbstractAsyncContextManager[None]:
        """While this lasts, the batch is ours although we ask nothing of it."""
        ...

    async def write(self, priced: Sequence[PricedDraft], priced_at: datetime) -> None:
        """Store the priced documents, with the as_of of the usage in them; later drafts whose
        credits changed with them are stale now."""
        ...


class Drafts(Protocol):
    """The work list of the pricing step."""

    def take(
        self, count_max: int, now: datetime, *, alone: bool = False
    ) -> AbstractAsyncContextManager[DraftBatch | None]:
        """Take marks and lock their invoices; the marks are gone when the context ends well.
        Periods that begin after `now` have no draft yet. With `alone`, None while another one that
        asked for it has a batch."""
        ...

    async def open_periods(self, now: datetime) -> int:
        """Mark every plan that has time before `now` without an invoice; returns how many. A draft
        exists from the start of its period, even before any usage."""
        ...


def draft_of(invoice_id: UUID, held: CustomerTerms, billed: BilledPeriod) -> StaleDraft:
    """What there is to price for one period of a customer's plan."""
    plan = held.terms.of(billed)
    resets = {charge.tier_reset_frequency for charge in plan.charges} - {1}
    earlier: tuple[Period, ...] = ()
    windows = _NONE
    if resets and not billed.trial:
        needed = periods_needed(plan, billed.number)
        earlier = tuple(_held(held.schedule, billed.number - back) for back in range(needed, 0, -1))
        windows = {reset: window_of(held.schedule, billed.number, reset) for reset in resets}
    return StaleDraft(
        invoice_id,
        held.customer_id,
        plan,
        billed,
        held.trial if billed.trial else None,
        earlier,
        windows,
    )


def window_of(schedule: Schedule, number: int, reset: int) -> Period:
    """The periods over which tiers run, as far as the plan holds."""
    first = number // reset * reset
    end = schedule.whole(first + reset - 1).end
    ends = schedule.ends
    return Period(_held(schedule, first).start, end if ends is None else min(end, ends))


def _held(schedule: Schedule, number: int) -> Period:
    period = schedule.period(number)
    assert period is not None, f"the plan ends before its period {number}"
    return period.held


def marked_periods(held: CustomerTerms, month: datetime, now: datetime) -> Iterator[BilledPeriod]:
    """The periods of a plan that usage in a calendar month may change, as far as they have begun:
    those that the month touches, and where one carries on, every later one."""
    end = next_month(month)
    if held.carries_on and end <= now:
        yield from held.schedule.periods(month, now + _MOMENT)
        return
    for billed in _touched(held.schedule, month, end):
        if billed.held.start <= now:
            yield billed


@lru_cache(maxsize=10_000)
def _touched(schedule: Schedule, start: datetime, end: datetime) -> tuple[BilledPeriod, ...]:
    """Many customers have the same schedule, and a month is marked again and again."""
    return tuple(schedule.periods(start, end))
