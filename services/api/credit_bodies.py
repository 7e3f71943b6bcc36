"""What the endpoints of credit grants are asked, in Metronome's words (METRONOME 3.9). What is
not there yet is refused with the reason, never taken and left undone.
"""

from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    WithJsonSchema,
    model_validator,
)

from services.api.fields import (
    Body,
    CustomFields,
    ExactNumber,
    Identity,
    Instant,
    Name,
    NotNegative,
    NotYet,
    Positive,
    WholeHour,
    reject,
)
from services.api.plan_bodies import CHARGES_MAX, DESCRIPTION_LENGTH_MAX
from services.domain.money import USD_CENTS_ID

UNIQUENESS_KEY_LENGTH_MAX = 128  # Metronome's
# Of a filter. Lists are read page by page, and a page has 100 items.
FILTER_IDS_MAX = 100


def _no_purchase_invoice(value: Any) -> None:
    if value is not None:
        reason = (
            "Tollgate makes no invoice for a purchase of credits; leave it out and invoice what was"
            " paid elsewhere"
        )
        reject([("", reason)])


def _no_purchase_invoice_to_void(value: Any) -> None:
    if value is not False:
        _no_purchase_invoice(value)


_NoPurchaseInvoice = Annotated[
    None,
    BeforeValidator(_no_purchase_invoice),
    WithJsonSchema({"description": "there are no invoices for purchases: refused unless absent"}),
]
_NoPurchaseInvoiceToVoid = Annotated[
    None,
    BeforeValidator(_no_purchase_invoice_to_void),
    WithJsonSchema(
        {"description": "there are no invoices for purchases: refused unless absent or false"}
    ),
]
_Ids = Annotated[list[Identity], Field(max_length=FILTER_IDS_MAX)]


class GrantedAmount(Body):
    """Credits in a pricing unit."""

    amount: Positive
    credit_type_id: Identity = USD_CENTS_ID


class PaidAmount(Body):
    """What was paid for them; 0 for a present."""

    amount: NotNegative
    credit_type_id: Identity = USD_CENTS_ID


class CreateGrant(Body):
    """POST /v1/credits/createGrant"""

    customer_id: Identity
    name: Annotated[Name, Field(description="as it is on invoices")]
    grant_amount: GrantedAmount
    paid_amount: Annotated[PaidAmount, Field(description="kept for you; nothing is invoiced")]
    priority: Annotated[ExactNumber, Field(description="the lower one is used up first")]
    effective_at: WholeHour | None = None
    expires_at: WholeHour
    product_ids: Annotated[
        list[Identity] | None,
        Field(
            max_length=CHARGES_MAX,
            description="in the order in which they are paid for; absent or empty: every product",
        ),
    ] = None
    reason: Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH_MAX)] = None
    credit_grant_type: Name | None = None
    uniqueness_key: (
        Annotated[str, Field(min_length=1, max_length=UNIQUENESS_KEY_LENGTH_MAX)] | None
    ) = None
    custom_fields: CustomFields | None = None
    invoice_date: _NoPurchaseInvoice = None
    rollover_settings: NotYet = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        ids = self.product_ids or []
        reject(
            [
                (f".product_ids[{index}]", "is named twice")
                for index, product_id in enumerate(ids)
                if product_id in ids[:index]
            ]
        )
        return self


class EditGrant(Body):
    """POST /v1/credits/editGrant"""

    id: Identity
    name: Name | None = None
    expires_at: WholeHour | None = None
    credit_grant_type: Name | None = None


class VoidGrant(Body):
    """POST /v1/credits/voidGrant"""

    id: Identity
    release_uniqueness_key: Annotated[
        StrictBool | None, Field(description="another grant may have the key then")
    ] = None
    void_credit_purchase_invoice: _NoPurchaseInvoiceToVoid = None


class ListGrants(Body):
    """POST /v1/credits/listGrants"""

    credit_grant_ids: Annotated[
        _Ids | None, Field(description="and then neither credit types nor customers")
    ] = None
    credit_type_ids: _Ids | None = None
    customer_ids: _Ids | None = None
    not_expiring_before: Annotated[
        Instant | None, Field(description="those that expire then or later")
    ] = None
    effective_before: Annotated[
        Instant | None, Field(description="those that take effect before it")
    ] = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if self.credit_grant_ids is not None:
            reject(
                [
                    (f".{name}", "cannot be combined with credit_grant_ids")
                    for name in ("credit_type_ids", "customer_ids")
                    if getattr(self, name) is not None
                ]
            )
        return self


class ListEntries(Body):
    """POST /v1/credits/listEntries"""

    customer_ids: _Ids | None = None
    credit_type_ids: _Ids | None = None
    starting_on: Annotated[
        Instant | None, Field(description="inclusive; absent: from the first grant on")
    ] = None
    ending_before: Annotated[
        Instant | None,
        Field(
            description="exclusive, not in the future; absent: all up to the end of the current"
            " billing period, what its invoices take included"
        ),
    ] = None

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        start, end = self.starting_on, self.ending_before
        if start is not None and end is not None and end <= start:
            reject([(".ending_before", "must be later than starting_on")])
        return self
