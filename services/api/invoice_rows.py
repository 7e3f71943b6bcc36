"""Invoices as replies show them: the projector's document with what the row's columns say."""

from datetime import datetime
from typing import NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.replies import CreditTypeName, Number, shown
from services.runtime.json import decode_json


class InvoiceTier(TypedDict):
    """The part of a quantity that one tier priced."""

    starting_at: Number
    quantity: Number
    price: Number
    subtotal: Number


class TierPeriod(TypedDict):
    """Over which quantities ran through the tiers."""

    starting_at: datetime
    ending_before: datetime


class SubLineItem(TypedDict):
    """One charge of a product."""

    name: str
    quantity: Number
    subtotal: Number
    charge_id: UUID
    custom_fields: dict[str, str]
    price: NotRequired[Number]
    tiers: list[InvoiceTier]
    tier_period: TierPeriod


class LineItem(TypedDict):
    """One product, or a group of one; or what turns the pricing unit into a currency. Written by
    services.runtime.invoice_document."""

    name: str
    type: str
    quantity: Number
    unit_price: NotRequired[Number]
    total: Number
    credit_type: CreditTypeName
    product_id: NotRequired[UUID]
    product_type: NotRequired[str]
    starting_at: datetime
    ending_before: datetime
    group_key: NotRequired[str]
    group_value: NotRequired[str | None]
    presentation_group_values: NotRequired[dict[str, str | None]]
    is_prorated: NotRequired[bool]
    custom_fields: dict[str, str]
    sub_line_items: NotRequired[list[SubLineItem]]


class InvoiceAdjustment(TypedDict):
    """An amount of the invoice as a whole; below zero where it takes away."""

    name: str
    total: Number
    credit_type: CreditTypeName
    credit_grant_id: NotRequired[UUID]


class WouldBe(TypedDict):
    """What a finalized invoice would come to with the usage that came too late for it."""

    subtotal: Number
    total: Number
    as_of: datetime


class Invoice(TypedDict):
    """Metronome's Invoice for a plan; `as_of`: usage accepted up to then is in it. `late_usage`:
    only where there is some; /v1/tollgate/invoices/{id}/late-usage says which."""

    id: UUID
    customer_id: UUID
    customer_custom_fields: dict[str, str]
    type: str
    status: str
    credit_type: CreditTypeName
    plan_id: UUID
    plan_name: str
    plan_custom_fields: dict[str, str]
    start_timestamp: datetime
    end_timestamp: datetime
    issued_at: NotRequired[datetime]
    regenerated_from_invoice_id: NotRequired[UUID]
    net_payment_terms_days: Number | None
    external_invoice: None
    custom_fields: dict[str, str]
    as_of: datetime
    line_items: list[LineItem]
    subtotal: Number
    total: Number
    invoice_adjustments: list[InvoiceAdjustment]
    late_usage: NotRequired[WouldBe]


def invoice_of(row: asyncpg.Record, *, skip_zero: bool) -> Invoice:
    """A row of invoice with the columns that `invoices` joins to it."""
    document = decode_json(row["document"])
    lines: list[LineItem] = document["line_items"]
    invoice = Invoice(
        id=row["id"],
        customer_id=row["customer_id"],
        customer_custom_fields=decode_json(row["customer_custom_fields"]),
        type="PLAN_ARREARS",
        status=row["status"],
        credit_type=CreditTypeName(id=row["credit_type_id"], name=row["credit_type_name"]),
        plan_id=row["plan_id"],
        plan_name=row["plan_name"],
        plan_custom_fields=decode_json(row["plan_custom_fields"]),
        start_timestamp=row["starts_at"],
        end_timestamp=row["ends_at"],
        net_payment_terms_days=shown(row["net_payment_terms_days"]),
        external_invoice=None,
        custom_fields={},
        as_of=row["as_of"],
        line_items=[line for line in lines if not (skip_zero and _is_zero(line))],
        subtotal=document["subtotal"],
        total=document["total"],
        invoice_adjustments=document["invoice_adjustments"],
    )
    if row["issued_at"] is not None:
        invoice["issued_at"] = row["issued_at"]
    if row["regenerated_from_invoice_id"] is not None:
        invoice["regenerated_from_invoice_id"] = row["regenerated_from_invoice_id"]
    if row["late_document"] is not None:
        late = decode_json(row["late_document"])
        invoice["late_usage"] = WouldBe(
            subtotal=late["subtotal"], total=late["total"], as_of=row["late_as_of"]
        )
    return invoice


def _is_zero(line: LineItem) -> bool:
    """A line of several charges has quantity 1, so the charges decide."""
    parts = line.get("sub_line_items")
    return line["quantity"] == 0 if parts is None else all(part["quantity"] == 0 for part in parts)
