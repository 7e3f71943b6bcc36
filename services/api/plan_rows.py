"""Plans and charges in the database and as replies show them. Holds no rule of a request."""

from decimal import Decimal
from typing import Any, NotRequired
from uuid import UUID

import asyncpg
from typing_extensions import TypedDict

from services.api.errors import not_found
from services.api.replies import CreditTypeName, Number
from services.domain.number import plain
from services.domain.plan import RoundingBehavior
from services.runtime.json import decode_json


class Plan(TypedDict):
    """Metronome's Plan."""

    id: UUID
    name: str
    description: str
    custom_fields: dict[str, str]


class PlanDetail(Plan):
    """Metronome's PlanDetail; Tollgate has no minimums, overages or credit grants yet."""

    minimums: list[Any]
    overage_rates: list[Any]
    credit_grants: list[Any]


class Price(TypedDict):
    """What a unit costs beyond the quantity `tier`."""

    tier: Number
    value: Number


class UnitConversion(TypedDict):
    """How a metered quantity becomes a priced one."""

    division_factor: Number
    rounding_behavior: RoundingBehavior | None


class Charge(TypedDict):
    """Metronome's PlanCharge, with the metric that it prices."""

    id: UUID
    name: str
    charge_type: str
    product_id: UUID
    product_name: str
    billable_metric_id: UUID
    credit_type: CreditTypeName
    custom_fields: dict[str, str]
    prices: list[Price]
    start_period: int
    tier_reset_frequency: int
    unit_conversion: NotRequired[UnitConversion]


PLAN_COLUMNS = "p.id, p.ordinal, p.name, p.description, p.custom_fields"


def plan_of(row: asyncpg.Record) -> Plan:
    """A row with PLAN_COLUMNS."""
    return Plan(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        custom_fields=decode_json(row["custom_fields"]),
    )


def plan_detail_of(row: asyncpg.Record) -> PlanDetail:
    """A row with PLAN_COLUMNS."""
    return PlanDetail(**plan_of(row), minimums=[], overage_rates=[], credit_grants=[])


def charge_of(row: asyncpg.Record) -> Charge:
    """A row of charge with credit_type_id and credit_type_name."""
    charge = Charge(
        id=row["id"],
        name=row["name"],
        charge_type=row["charge_type"],
        product_id=row["product_id"],
        product_name=row["product_name"],
        billable_metric_id=row["billable_metric_id"],
        credit_type=CreditTypeName(id=row["credit_type_id"], name=row["credit_type_name"]),
        custom_fields=decode_json(row["custom_fields"]),
        prices=[
            Price(tier=plain(Decimal(price["tier"])), value=plain(Decimal(price["value"])))
            for price in decode_json(row["prices"])
        ],
        start_period=0,
        tier_reset_frequency=1,
    )
    if row["unit_conversion"] is not None:
        stored = decode_json(row["unit_conversion"])
        charge["unit_conversion"] = UnitConversion(
            division_factor=plain(Decimal(stored["division_factor"])),
            rounding_behavior=stored["rounding_behavior"],
        )
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
