"""The life of an invoice: DRAFT, FINALIZED, VOID, and what may happen when. Pure decisions; time
and positions are handed in (METRONOME 4.5, DESIGN section 8).

    DRAFT -> FINALIZED   when the period is over, the grace has passed, and everything that was
                         accepted before that instant is counted
    FINALIZED -> VOID    on request; a FINALIZED invoice never changes otherwise
    DRAFT -> VOID        when its customer is archived
    VOID -> a new DRAFT  regenerate: another id, linked back, from what is known now; once
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from services.domain.period import Period

GRACE = timedelta(hours=24)  # Metronome's default


class InvoiceStatus(StrEnum):
    """Metronome's three; the grace period is spent as a DRAFT."""

    DRAFT = "DRAFT"
    FINALIZED = "FINALIZED"
    VOID = "VOID"


class Step(StrEnum):
    """What can happen to an invoice."""

    PRICE = "price"
    FINALIZE = "finalize"
    VOID = "void"
    ARCHIVE = "archive"  # its customer
    REGENERATE = "regenerate"


_AFTER: dict[tuple[InvoiceStatus, Step], InvoiceStatus] = {
    (InvoiceStatus.DRAFT, Step.PRICE): InvoiceStatus.DRAFT,
    (InvoiceStatus.DRAFT, Step.FINALIZE): InvoiceStatus.FINALIZED,
    (InvoiceStatus.DRAFT, Step.ARCHIVE): InvoiceStatus.VOID,
    (InvoiceStatus.FINALIZED, Step.VOID): InvoiceStatus.VOID,
    (InvoiceStatus.VOID, Step.REGENERATE): InvoiceStatus.VOID,
}


@dataclass(frozen=True, slots=True)
class InvoiceState:
    """What decides about one invoice."""

    id: UUID
    status: InvoiceStatus
    period: Period
    regenerated_from: UUID | None = None  # the void invoice that it replaces
    regenerated_as: UUID | None = None  # the invoice that replaces this one


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a step is not taken."""

    reason: str


def status_after(invoice: InvoiceState, step: Step) -> InvoiceStatus | Refused:
    """The status of an invoice after a step, or why the step is not for it."""
    status = _AFTER.get((invoice.status, step))
    if status is not None:
        return status
    if step is Step.REGENERATE:
        return Refused(f"invoice {invoice.id} is {invoice.status}; void it first")
    return Refused(f"invoice {invoice.id} is {invoice.status}: {step} is not for it")


def regenerate(invoice: InvoiceState, new_id: UUID) -> InvoiceState | Refused:
    """The invoice that takes the place of a void one, or why there is none."""
    after = status_after(invoice, Step.REGENERATE)
    if isinstance(after, Refused):
        return after
    if invoice.regenerated_as is not None:
        return Refused(f"invoice {invoice.id} was regenerated as {invoice.regenerated_as}")
    return InvoiceState(new_id, InvoiceStatus.DRAFT, invoice.period, regenerated_from=invoice.id)


@dataclass(frozen=True, slots=True)
class Finality:
    """Whether a draft may be finalized, and if not, what it waits for."""

    due_at: datetime  # when the grace is over
    in_grace: bool
    partitions_behind: tuple[int, ...]  # not counted as far as `due_at` yet

    @property
    def reached(self) -> bool:
        """Nothing is waited for."""
        return not self.in_grace and not self.partitions_behind


def finality(
    period_end: datetime,
    now: datetime,
    positions: Mapping[int, int],
    offsets_at_due: Mapping[int, int],
    grace: timedelta = GRACE,
) -> Finality:
    """Whether a DRAFT of a period may be finalized now.

    `positions`: by partition, the next raw offset that the projector expects. `offsets_at_due`: by
    partition, for every one, the first raw offset that the log took at `due_at` or later, or the
    log's end when it took none yet; asked after `due_at`. A position is past that instant when it
    is at that offset or beyond, so lag can never hide usage from a final invoice. A partition
    without a position has counted nothing.
    """
    due_at = period_end + grace
    behind = (
        partition
        for partition, offset in offsets_at_due.items()
        if positions.get(partition, 0) < offset
    )
    return Finality(due_at, now < due_at, tuple(sorted(behind)))


@dataclass(frozen=True, slots=True)
class PlanEnd:
    """What the end of a customer's plan does to its invoices."""

    void: tuple[UUID, ...]  # FINALIZED, reach beyond the end
    drop: tuple[UUID, ...]  # DRAFT, of periods that no longer begin
    shorten: tuple[UUID, ...]  # DRAFT, of the period that the end falls into


def end_plan(
    invoices: Iterable[InvoiceState], ending_before: datetime, void_invoices: bool = False
) -> PlanEnd | Refused:
    """End a customer's plan. Before the end of a finalized invoice only with `void_invoices`,
    which voids those that reach beyond it (METRONOME 3.3)."""
    beyond = [each for each in invoices if each.period.end > ending_before]
    final = [each for each in beyond if each.status is InvoiceStatus.FINALIZED]
    drafts = [each for each in beyond if each.status is InvoiceStatus.DRAFT]
    if final and not void_invoices:
        latest = max(each.period.end for each in final)
        return Refused(
            f"there is a finalized invoice up to {latest:%Y-%m-%d}; void_invoices voids it"
        )
    return PlanEnd(
        tuple(each.id for each in final),
        tuple(each.id for each in drafts if each.period.start >= ending_before),
        tuple(each.id for each in drafts if each.period.start < ending_before),
    )
