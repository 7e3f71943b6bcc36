"""From usage and credits to documents: the one way to price drafts. Pure; reads and writes nothing.

Drafts of customers with credits are priced in the order in which those are taken, so that each sees
what the ones before it have left.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

from services.domain.number import ZERO, subtract
from services.domain.pricing.book import Taker
from services.domain.pricing.invoice import Credits, PricedInvoice, price_period
from services.domain.pricing.ledger import InvoiceDeduction
from services.domain.pricing.usage import PeriodUsage
from services.projector.drafts import DraftCredits, PricedDraft, StaleDraft
from services.runtime.invoice_document import render


def price_all(
    drafts: Sequence[StaleDraft], usage: Mapping[UUID, PeriodUsage], credits_left: DraftCredits
) -> list[PricedDraft]:
    """The documents of drafts, in any order. `usage`: by invoice id; the book takes down what each
    draft takes."""
    book = credits_left.book
    priced: list[PricedDraft] = []
    paying: list[StaleDraft] = []
    for draft in drafts:
        if book.concerns(draft.customer_id, draft.invoice_id):
            paying.append(draft)
        else:
            found = price_period(draft.plan, usage[draft.invoice_id], draft.billed, draft.trial)
            priced.append(_rendered(draft, found))
    for draft in sorted(paying, key=lambda each: each.taker.place):
        taker = draft.taker
        available = Credits(
            book.available(taker), credits_left.used_until.get(taker.invoice_id, ())
        )
        found = price_period(
            draft.plan, usage[draft.invoice_id], draft.billed, draft.trial, available
        )
        book.take(taker, _deductions(taker, found))
        priced.append(_rendered(draft, found))
    return priced


def _rendered(draft: StaleDraft, priced: PricedInvoice) -> PricedDraft:
    document = render(draft.plan, priced, draft.billed, draft.windows)
    return PricedDraft(draft.invoice_id, document)


def _deductions(taker: Taker, priced: PricedInvoice) -> list[InvoiceDeduction]:
    return [
        InvoiceDeduction(
            each.credit_grant_id,
            taker.invoice_id,
            subtract(ZERO, each.amount),
            taker.period.end,
            pending=True,
        )
        for each in priced.adjustments
        if each.credit_grant_id is not None
    ]
