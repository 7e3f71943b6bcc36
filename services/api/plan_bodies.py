"""What a sound plan is, before it is stored. Metronome makes plans in its web app and has no such
request; the fields are those of its planDetails (METRONOME 3.3)."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from services.api.fields import (
    Body,
    CustomFields,
    ExactNumber,
    Identity,
    Name,
    any_case,
    reject,
)
from services.domain.money import USD_CENTS_ID
from services.domain.number import text_of
from services.domain.plan import RoundingBehavior, tier_faults

CHARGES_MAX = 200
TIERS_MAX = 100
DESCRIPTION_LENGTH_MAX = 4_000


class ChargeType(StrEnum):
    """Metronome's, of which Tollgate prices the first."""

    USAGE = "usage"


class BillingFrequency(StrEnum):
    """How often a plan is invoiced."""

    MONTHLY = "MONTHLY"


def _only(kind: type[StrEnum], others: str) -> BeforeValidator:
    """Words for the members that Metronome has and Tollgate has not."""
    known = [member.value for member in kind]

    def check(value: object) -> object:
        if isinstance(value, str) and value.lower() not in [text.lower() for text in known]:
            reject([("", f"Tollgate has only {', '.join(known)} so far, {others}")])
        return value

    return BeforeValidator(check)


def _not_negative(number: ExactNumber) -> ExactNumber:
    if number < 0:
        reject([("", f"must be 0 or more, not {text_of(number)}")])
    return number


def _positive(number: ExactNumber) -> ExactNumber:
    if number <= 0:
        reject([("", f"must be greater than 0, not {text_of(number)}")])
    return number


class PriceBody(Body):
    """A price that holds for the quantity beyond `tier`, up to the next tier inclusive."""

    tier: Annotated[ExactNumber, AfterValidator(_not_negative)]
    value: Annotated[ExactNumber, AfterValidator(_not_negative)]


def _sound_tiers(prices: list[PriceBody]) -> list[PriceBody]:
    reject(
        [
            (f"[{index}].tier", reason)
            for index, reason in tier_faults([price.tier for price in prices])
        ]
    )
    return prices


class UnitConversionBody(Body):
    """The metric's value is divided by the factor, then rounded as told."""

    division_factor: Annotated[ExactNumber, AfterValidator(_positive)]
    rounding_behavior: Annotated[RoundingBehavior, any_case(RoundingBehavior)] | None = None


class ChargeBody(Body):
    """One priced metric of a product."""

    name: Name
    product_name: Annotated[Name, Field(description="charges of one name make one invoice line")]
    billable_metric_id: Identity
    charge_type: Annotated[
        ChargeType, any_case(ChargeType), _only(ChargeType, "no fixed or seat charges")
    ] = ChargeType.USAGE
    prices: Annotated[
        list[PriceBody],
        Field(min_length=1, max_length=TIERS_MAX),
        AfterValidator(_sound_tiers),
    ]
    unit_conversion: UnitConversionBody | None = None
    custom_fields: CustomFields | None = None


class CreatePlan(Body):
    """POST /v1/plans/create"""

    name: Name
    description: Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH_MAX)] = None
    billing_frequency: Annotated[
        BillingFrequency,
        any_case(BillingFrequency),
        _only(BillingFrequency, "invoices by calendar month in UTC"),
    ] = BillingFrequency.MONTHLY
    credit_type_id: Identity = USD_CENTS_ID
    custom_fields: CustomFields | None = None
    charges: Annotated[list[ChargeBody], Field(min_length=1, max_length=CHARGES_MAX)]
