"""What a plan is asked for with, before it is stored. Metronome makes plans in its web app and has
no such request; the fields are those of its planDetails (METRONOME 3.3). What makes a plan
contradict itself as a whole is in `services.domain.plan_faults`."""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

from services.api.fields import (
    Body,
    CustomFields,
    ExactNumber,
    Identity,
    Name,
    NotNegative,
    Positive,
    any_case,
    json_kind,
    reject,
)
from services.domain.customer_plan_faults import TRIAL_DAYS_MAX
from services.domain.money import USD_CENTS_ID
from services.domain.plan import ONE, ChargeType, RoundingBehavior, Tiering, tier_faults
from services.domain.schedule import BillingCycle, BillingFrequency

CHARGES_MAX = 200
TIERS_MAX = 100
GROUP_KEY_MAX = 10
# Steps of ramps, and grants, of a plan.
STEPS_MAX = 100
DESCRIPTION_LENGTH_MAX = 4_000
# A hundred years of weeks; what is beyond cannot be told from never.
PERIODS_MAX = 5_200
# Ten years of months. Each of the periods is read when the last of them is priced.
TIER_RESET_MAX = 120


def _whole(least: int, most: int) -> BeforeValidator:
    """A whole number: true is none, nor is 1.5; 1.0 is, as some clients write it. `least`, `most`:
    the bounds that a refusal names. What is beyond PERIODS_MAX never gets further; the bounds
    themselves are held further on, where every fault is told at once."""

    def check(value: object) -> object:
        # Within bounds first: ten bytes of text stand for a whole number that takes hours to write
        # out.
        if isinstance(value, Decimal) and 0 <= value <= PERIODS_MAX and value % 1 == 0:
            value = int(value)
        if type(value) is not int or not 0 <= value <= PERIODS_MAX:
            numeric = isinstance(value, int | Decimal) and not isinstance(value, bool)
            instead = "" if numeric else f", not {_kind(value)}"
            reject([("", f"must be a whole number from {least} to {most}{instead}")])
        return value

    return BeforeValidator(check)


def _kind(value: object) -> str:
    return "text (leave out the quotes)" if isinstance(value, str) else json_kind(value)


Periods = Annotated[int, _whole(0, PERIODS_MAX)]
SomePeriods = Annotated[int, _whole(1, PERIODS_MAX)]
TrialDays = Annotated[int, _whole(1, TRIAL_DAYS_MAX)]
_TierReset = Annotated[int, Field(ge=1, le=TIER_RESET_MAX), _whole(1, TIER_RESET_MAX)]


class PriceBody(Body):
    """A price that holds for the quantity beyond `tier`, up to the next tier inclusive."""

    tier: NotNegative
    value: NotNegative


def _sound_tiers(prices: list[PriceBody]) -> list[PriceBody]:
    reject(
        [
            (f"[{index}].tier", reason)
            for index, reason in tier_faults([price.tier for price in prices])
        ]
    )
    return prices


def _no_seats(value: object) -> object:
    """Words for the kind of charge that Metronome has and Tollgate has not."""
    if isinstance(value, str) and value.lower() == "seat":
        known = ", ".join(ChargeType)
        reject([("", f"Tollgate has only {known} charges, no seats")])
    return value


class UnitConversionBody(Body):
    """The metric's value is divided by the factor, then rounded as told."""

    division_factor: Positive
    rounding_behavior: Annotated[RoundingBehavior, any_case(RoundingBehavior)] | None = None


_Names = Annotated[list[Name], Field(max_length=CHARGES_MAX)]
_BASE_PRODUCTS = (
    "products that a composite or a minimum looks at. A composite looks at the usage and fixed"
    " charges in them, a minimum at their usage, fixed and composite charges; each product has at"
    " least one of those, and its other charges (minimums; for a composite also composites) are not"
    " looked at. With no base at all, a composite looks at every product, a minimum at its own"
)
_BASE_CHARGES = (
    "charges that a composite or a minimum looks at. For a composite each is a usage or fixed"
    " charge, for a minimum a usage, fixed or composite charge; a name means every charge of it"
)


class ChargeBody(Body):
    """One priced thing of a product."""

    name: Annotated[Name, Field(description="charges of one name and product are steps of a ramp")]
    product_name: Annotated[Name, Field(description="charges of one name make one invoice line")]
    charge_type: Annotated[ChargeType, any_case(ChargeType), BeforeValidator(_no_seats)] = (
        ChargeType.USAGE
    )
    billable_metric_id: Annotated[
        Identity | None, Field(description="of a usage charge, and of no other")
    ] = None
    prices: Annotated[
        list[PriceBody],
        Field(min_length=1, max_length=TIERS_MAX),
        AfterValidator(_sound_tiers),
    ]
    tiering: Annotated[Tiering, any_case(Tiering)] = Tiering.GRADUATED
    package_size: Annotated[
        ExactNumber | None, Field(description="the price is per started block of so many units")
    ] = None
    quantity: Annotated[ExactNumber, Field(description="of a fixed charge")] = ONE
    unit_conversion: UnitConversionBody | None = None
    tier_reset_frequency: Annotated[
        _TierReset, Field(description="billing periods over which the tiers run on")
    ] = 1
    start_period: Annotated[
        Periods, Field(description="billing periods that pass before it applies")
    ] = 0
    group_key: (
        Annotated[
            list[Name],
            Field(
                max_length=GROUP_KEY_MAX,
                description="properties of a group key of the metric; each value is priced alone",
            ),
        ]
        | None
    ) = None
    base_product_names: Annotated[_Names, Field(description=_BASE_PRODUCTS)] | None = None
    base_charge_names: Annotated[_Names, Field(description=_BASE_CHARGES)] | None = None
    custom_fields: CustomFields | None = None


class MinimumBody(Body):
    """What an invoice comes to at least."""

    name: Name
    value: ExactNumber
    credit_type_id: Annotated[
        Identity | None,
        Field(
            description="the plan's pricing unit where it is absent; or a currency, into which the"
            " overage rate is when the minimum begins"
        ),
    ] = None
    start_period: Periods = 0


class OverageRateBody(Body):
    """The price in a currency of one unit of the plan's own pricing unit."""

    credit_type_id: Identity | None = None
    fiat_credit_type_id: Identity
    to_fiat_conversion_factor: ExactNumber
    start_period: Periods = 0


class CreditGrantBody(Body):
    """Credits that every customer of the plan is granted; durations are in billing periods."""

    name: Name
    amount_granted: ExactNumber
    amount_granted_credit_type_id: Identity
    amount_paid: ExactNumber
    amount_paid_credit_type_id: Identity
    effective_duration: SomePeriods
    priority: Annotated[ExactNumber, Field(description="the lower one is used up first")]
    send_invoice: StrictBool = False
    reason: Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH_MAX)] = None
    recurrence_interval: SomePeriods | None = None
    recurrence_duration: SomePeriods | None = None


class CreatePlan(Body):
    """POST /v1/plans/create"""

    name: Name
    description: Annotated[str | None, Field(max_length=DESCRIPTION_LENGTH_MAX)] = None
    billing_frequency: Annotated[BillingFrequency, any_case(BillingFrequency)] = (
        BillingFrequency.MONTHLY
    )
    billing_cycle: Annotated[BillingCycle, any_case(BillingCycle)] = BillingCycle.CALENDAR
    credit_type_id: Identity = USD_CENTS_ID
    custom_fields: CustomFields | None = None
    charges: Annotated[list[ChargeBody], Field(min_length=1, max_length=CHARGES_MAX)]
    minimums: Annotated[list[MinimumBody], Field(max_length=STEPS_MAX)] | None = None
    overage_rates: Annotated[list[OverageRateBody], Field(max_length=STEPS_MAX)] | None = None
    credit_grants: Annotated[list[CreditGrantBody], Field(max_length=STEPS_MAX)] | None = None
