"""Two documents of one invoice compared, line by line. Pure; reads what
`services.runtime.invoice_document` renders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One value with the live generation and with the other; None where the line is absent."""

    live: Decimal | None
    replayed: Decimal | None


@dataclass(frozen=True, slots=True)
class LineDifference:
    """One charge of one product that is not the same."""

    product: str
    charge: str
    quantity: Change
    subtotal: Change
    fields: tuple[str, ...]  # everything that differs, by name


@dataclass(frozen=True, slots=True)
class InvoiceDifference:
    """One invoice that is not the same."""

    customer_id: UUID
    customer: str  # its name
    invoice_id: UUID | None  # None: the live generation has no such invoice
    status: str | None  # DRAFT or FINALIZED; a finalized one is never changed by a promotion
    starts_at: datetime
    ends_at: datetime
    unit: str  # of the amounts
    total: Change
    subtotal: Change
    lines: tuple[LineDifference, ...]


def differing_lines(live: Document, replayed: Document) -> tuple[LineDifference, ...]:
    """The charges that differ, in the order of the invoice; `{}` is an invoice without lines."""
    before, after = _charges(live), _charges(replayed)
    return tuple(
        _difference(key, before.get(key), after.get(key))
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    )


def change(name: str, live: Document, replayed: Document) -> Change:
    """One field of both; None where a document lacks it."""
    return Change(live.get(name), replayed.get(name))


_Key = tuple[str, str, str]  # product id, group, charge id


def _charges(document: Document) -> dict[_Key, Document]:
    """A line without charges turns the pricing unit into a currency; the total says the same."""
    return {
        (line["product_id"], _group(line), part["charge_id"]): {**part, "product": line["name"]}
        for line in document.get("line_items", ())
        for part in line.get("sub_line_items", ())
    }


def _group(line: Document) -> str:
    """The group that a line is of, as text."""
    return repr(sorted(line.get("presentation_group_values", {}).items()))


def _difference(key: _Key, live: Document | None, replayed: Document | None) -> LineDifference:
    shown: Document = replayed if live is None else live  # type: ignore[assignment]  # one is there
    before, after = live or {}, replayed or {}
    names: Sequence[str] = [n for n in {**before, **after} if before.get(n) != after.get(n)]
    return LineDifference(
        product=shown["product"],
        charge=shown["name"],
        quantity=change("quantity", before, after),
        subtotal=change("subtotal", before, after),
        fields=tuple(sorted(names)),
    )
