"""Plans and charges in the database and as replies show them. Holds no rule of a request."""

from typing import NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.errors import not_found
from services.api.replies import CreditTypeName, Number
from services.domain import plan as domain
from services.domain.money import CreditType
from services.domain.number import plain, text_of
from services.domain.plan import ChargeType, RoundingBehavior, Tiering
from services.domain.schedule import BillingCycle, BillingFrequency
from services.runtime.json import decode_json
from services.runtime.plan_rows import (
    Units,
    credit_grants_of,
    minimums_of,
    overage_rates_of,
)
from services.runtime.plan_rows import charge_of as stored_charge


class Plan(TypedDict):
    """Metronome's Plan."""

    id: UUID
    name: str
    description: str
    custom_fields: dict[str, str]


class Minimum(TypedDict):
    """What an invoice comes to at least."""

    name: str
    value: Number
    credit_type: CreditTypeName
    start_period: int


class OverageRate(TypedDict):
    """What a unit of the plan's own pricing unit costs in a currency."""

    credit_type: CreditTypeName
    fiat_credit_type: CreditTypeName
    to_fiat_conversion_factor: Number
    start_period: int


class PlanCreditGrant(TypedDict):
    """Credits that every customer of the plan is granted; durations are in billing periods."""

    name: str
    amount_granted: Number
    amount_granted_credit_type: CreditTypeName
    amount_paid: Number
    amount_paid_credit_type: CreditTypeName
    effective_duration: int
    priority: str
    send_invoice: bool
    reason: NotRequired[str]
    recurrence_interval: NotRequired[int]
    recurrence_duration: NotRequired[int]


class PlanDetail(Plan):
    """Metronome's PlanDetail, with what says how its invoices are cut."""

    billing_frequency: BillingFrequency
    billing_cycle: BillingCycle
    credit_type: CreditTypeName
    minimums: list[Minimum]
    overage_rates: list[OverageRate]
    credit_grants: list[PlanCreditGrant]


class Price(TypedDict):
    """What a unit costs beyond the quantity `tier`."""

    tier: Number
    value: Number


class UnitConversion(TypedDict):
    """How a metered quantity becomes a priced one."""

    division_factor: Number
    rounding_behavior: RoundingBehavior | None


class Charge(TypedDict):
    """Metronome's PlanCharge, with what else it was made of."""

    id: UUID
    name: str
    charge_type: ChargeType
    product_id: UUID
    product_name: str
    credit_type: CreditTypeName
    custom_fields: dict[str, str]
    prices: list[Price]
    start_period: int
    tier_reset_frequency: int
    tiering: Tiering
    billable_metric_id: NotRequired[UUID]  # of a usage charge
    unit_conversion: NotRequired[UnitConversion]
    package_size: NotRequired[Number]
    group_key: NotRequired[list[str]]
    quantity: NotRequired[Number]  # of a fixed charge
    base_product_ids: NotRequired[list[UUID]]  # of a composite or a minimum
    base_charge_ids: NotRequired[list[UUID]]


PLAN_COLUMNS = """
    p.id, p.ordinal, p.name, p.description, p.custom_fields, p.credit_type_id, p.billing_frequency,
    p.billing_cycle, p.minimums, p.overage_rates, p.credit_grants
"""


def plan_of(row: asyncpg.Record) -> Plan:
    """A row with PLAN_COLUMNS."""
    return Plan(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        custom_fields=decode_json(row["custom_fields"]),
    )


def plan_detail_of(row: asyncpg.Record, units: Units) -> PlanDetail:
    """A row with PLAN_COLUMNS."""
    return PlanDetail(
        **plan_of(row),
        billing_frequency=BillingFrequency(row["billing_frequency"]),
        billing_cycle=BillingCycle(row["billing_cycle"]),
        credit_type=unit_name(units[row["credit_type_id"]]),
        minimums=[
            Minimum(
                name=each.name,
                value=plain(each.value),
                credit_type=unit_name(each.unit),
                start_period=each.start_period,
            )
            for each in minimums_of(row["minimums"], units)
        ],
        overage_rates=[
            OverageRate(
                credit_type=unit_name(each.unit),
                fiat_credit_type=unit_name(each.fiat),
                to_fiat_conversion_factor=plain(each.to_fiat_conversion_factor),
                start_period=each.start_period,
            )
            for each in overage_rates_of(row["overage_rates"], units)
        ],
        credit_grants=[_grant(each) for each in credit_grants_of(row["credit_grants"], units)],
    )


def _grant(grant: domain.PlanCreditGrant) -> PlanCreditGrant:
    shown = PlanCreditGrant(
        name=grant.name,
        amount_granted=plain(grant.amount_granted),
        amount_granted_credit_type=unit_name(grant.granted_unit),
        amount_paid=plain(grant.amount_paid),
        amount_paid_credit_type=unit_name(grant.paid_unit),
        effective_duration=grant.effective_duration,
        priority=text_of(grant.priority),
        send_invoice=grant.send_invoice,
    )
    if grant.reason is not None:
        shown["reason"] = grant.reason
    if grant.recurrence_interval is not None:
        shown["recurrence_interval"] = grant.recurrence_interval
    if grant.recurrence_duration is not None:
        shown["recurrence_duration"] = grant.recurrence_duration
    return shown


def unit_name(unit: CreditType) -> CreditTypeName:
    """A pricing unit, as other objects name it."""
    return CreditTypeName(id=unit.id, name=unit.name)


def charge_of(row: asyncpg.Record) -> Charge:
    """A row of charge with credit_type_id and credit_type_name."""
    stored = stored_charge(row)
    charge = Charge(
        id=stored.id,
        name=stored.name,
        charge_type=stored.charge_type,
        product_id=stored.product_id,
        product_name=stored.product_name,
        credit_type=CreditTypeName(id=row["credit_type_id"], name=row["credit_type_name"]),
        custom_fields=decode_json(row["custom_fields"]),
        prices=[
            Price(tier=plain(tier.starts_after), value=plain(tier.price)) for tier in stored.tiers
        ],
        start_period=stored.start_period,
        tier_reset_frequency=stored.tier_reset_frequency,
        tiering=stored.tiering,
    )
    if stored.metric_id is not None:
        charge["billable_metric_id"] = stored.metric_id
    if stored.unit_conversion is not None:
        charge["unit_conversion"] = UnitConversion(
            division_factor=plain(stored.unit_conversion.division_factor),
            rounding_behavior=stored.unit_conversion.rounding,
        )
    if stored.package_size is not None:
        charge["package_size"] = plain(stored.package_size)
    if stored.group_key:
        charge["group_key"] = list(stored.group_key)
    if stored.charge_type is ChargeType.FIXED:
        charge["quantity"] = plain(stored.quantity)
    if stored.base_product_ids:
        charge["base_product_ids"] = list(stored.base_product_ids)
    if stored.base_charge_ids:
        charge["base_charge_ids"] = list(stored.base_charge_ids)
    return charge


async def fetch_plan(connection: asyncpg.Connection, plan_id: UUID) -> asyncpg.Record:
    """The plan's row with PLAN_COLUMNS, or 404."""
    row = await connection.fetchrow(
        f"SELECT {PLAN_COLUMNS} FROM plan p WHERE p.id = $1",  # noqa: S608 (a constant)
        plan_id,
    )
    if row is None:
        raise not_found("plan", plan_id)
    return row
