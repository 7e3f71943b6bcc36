"""What an invoice says, and what it would say now, side by side. Reads documents as the projector
wrote them; prices nothing.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple, NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.replies import Number
from services.domain.number import ZERO, add, plain, subtract
from services.runtime.json import decode_json


class Moved(TypedDict):
    """An amount or a quantity; `late` = `current` - `finalized`, below 0 after corrections."""

    finalized: Number
    current: Number
    late: Number


class LateCharge(TypedDict):
    """One charge that comes to something else now."""

    product_id: UUID
    product_name: str
    charge_id: UUID
    charge_name: str
    group_key: NotRequired[str]
    group_value: NotRequired[str | None]
    presentation_group_values: NotRequired[dict[str, str | None]]
    quantity: Moved
    subtotal: Moved


class LateUsage(TypedDict):
    """Of one invoice; without late usage `charges` is empty."""

    invoice_id: UUID
    customer_id: UUID
    status: str
    as_of: datetime
    noted_at: datetime | None
    subtotal: Moved
    total: Moved
    charges: list[LateCharge]


class _Place(NamedTuple):
    product_id: UUID
    charge_id: UUID
    group: tuple[tuple[str, str | None], ...]  # properties of the group key with their values


class _Charge(NamedTuple):
    product_name: str
    name: str
    quantity: Decimal
    subtotal: Decimal


def late_usage_of(row: asyncpg.Record) -> LateUsage:
    """A row of an invoice with its late usage, if it has any (`invoice_life`)."""
    late = row["late_document"] is not None
    finalized = decode_json(row["document"])
    current = decode_json(row["late_document"]) if late else finalized
    return LateUsage(
        invoice_id=row["id"],
        customer_id=row["customer_id"],
        status=row["status"],
        as_of=row["late_as_of"] if late else row["as_of"],
        noted_at=row["noted_at"],
        subtotal=_moved(finalized["subtotal"], current["subtotal"]),
        total=_moved(finalized["total"], current["total"]),
        charges=_late_charges(finalized, current),
    )


def _late_charges(finalized: Mapping[str, Any], current: Mapping[str, Any]) -> list[LateCharge]:
    before, after = _charges(finalized), _charges(current)
    return [
        _late_charge(place, before.get(place), after.get(place))
        for place in {**before, **after}
        if before.get(place) != after.get(place)
    ]


def _charges(document: Mapping[str, Any]) -> dict[_Place, _Charge]:
    charges: dict[_Place, _Charge] = {}
    for line in document["line_items"]:
        # The line that makes a currency of a pricing unit has no charges.
        for part in line.get("sub_line_items", ()):
            group = tuple(line.get("presentation_group_values", {}).items())
            place = _Place(line["product_id"], part["charge_id"], group)
            held = charges.get(place)
            quantity, subtotal = Decimal(part["quantity"]), Decimal(part["subtotal"])
            charges[place] = _Charge(
                line["name"],
                part["name"],
                quantity if held is None else add(held.quantity, quantity),
                subtotal if held is None else add(held.subtotal, subtotal),
            )
    return charges


def _late_charge(place: _Place, before: _Charge | None, after: _Charge | None) -> LateCharge:
    names = before or after
    assert names is not None, "a charge stands in one of the two"
    charge = LateCharge(
        product_id=place.product_id,
        product_name=names.product_name,
        charge_id=place.charge_id,
        charge_name=names.name,
        quantity=_moved(before.quantity if before else ZERO, after.quantity if after else ZERO),
        subtotal=_moved(before.subtotal if before else ZERO, after.subtotal if after else ZERO),
    )
    if len(place.group) == 1:
        [(charge["group_key"], charge["group_value"])] = place.group
    if place.group:
        charge["presentation_group_values"] = dict(place.group)
    return charge


def _moved(finalized: Decimal, current: Decimal) -> Moved:
    before, after = Decimal(finalized), Decimal(current)
    return Moved(finalized=plain(before), current=plain(after), late=plain(subtract(after, before)))
