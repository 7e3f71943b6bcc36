"""Plans as PostgreSQL holds them. A plan never changes once made, so it is kept. Reads only."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from services.domain.money import CreditType
from services.domain.plan import (
    Charge,
    ChargeType,
    Minimum,
    OverageRate,
    Plan,
    PlanCreditGrant,
    RoundingBehavior,
    Tier,
    Tiering,
    UnitConversion,
)
from services.domain.schedule import BillingCycle, BillingFrequency
from services.runtime.json import decode_json

# Far more plans than any catalog has; past it the shelf is emptied.
PLANS_MAX = 10_000

_PLANS = """
SELECT id, name, credit_type_id, billing_frequency, billing_cycle, minimums, overage_rates,
    credit_grants
FROM plan WHERE id = ANY($1)
"""
_CHARGES = "SELECT * FROM charge WHERE plan_id = ANY($1) ORDER BY plan_id, position"
_UNITS = "SELECT id, name, decimal_places, is_currency FROM credit_type"

Units = Mapping[UUID, CreditType]


class PlanShelf:
    """Plans by id, read once."""

    def __init__(self) -> None:
        self._plans: dict[UUID, Plan] = {}

    async def get(
        self, connection: asyncpg.Connection, plan_ids: Iterable[UUID]
    ) -> Mapping[UUID, Plan]:
        """The plans of these ids, which must exist."""
        if len(self._plans) > PLANS_MAX:
            self._plans.clear()
        missing = [plan_id for plan_id in plan_ids if plan_id not in self._plans]
        if missing:
            await self._read(connection, missing)
        return self._plans

    async def _read(self, connection: asyncpg.Connection, plan_ids: list[UUID]) -> None:
        plans = await connection.fetch(_PLANS, plan_ids)
        charges: dict[UUID, list[Charge]] = {}
        for row in await connection.fetch(_CHARGES, plan_ids):
            charges.setdefault(row["plan_id"], []).append(charge_of(row))
        units = await read_units(connection)
        for row in plans:
            self._plans[row["id"]] = _plan(row, charges.get(row["id"], ()), units)


async def read_units(connection: asyncpg.Connection) -> Units:
    """Every pricing unit."""
    rows = await connection.fetch(_UNITS)
    return {row["id"]: CreditType(*row) for row in rows}


def _plan(row: asyncpg.Record, charges: Iterable[Charge], units: Units) -> Plan:
    return Plan(
        id=row["id"],
        name=row["name"],
        unit=units[row["credit_type_id"]],
        charges=tuple(charges),
        billing_frequency=BillingFrequency(row["billing_frequency"]),
        billing_cycle=BillingCycle(row["billing_cycle"]),
        minimums=minimums_of(row["minimums"], units),
        overage_rates=overage_rates_of(row["overage_rates"], units),
        credit_grants=credit_grants_of(row["credit_grants"], units),
    )


def minimums_of(stored: str, units: Units) -> tuple[Minimum, ...]:
    """The column plan.minimums."""
    return tuple(
        Minimum(
            item["name"],
            Decimal(item["value"]),
            units[UUID(item["credit_type_id"])],
            item["start_period"],
        )
        for item in decode_json(stored)
    )


def overage_rates_of(stored: str, units: Units) -> tuple[OverageRate, ...]:
    """The column plan.overage_rates."""
    return tuple(
        OverageRate(
            units[UUID(item["credit_type_id"])],
            units[UUID(item["fiat_credit_type_id"])],
            Decimal(item["to_fiat_conversion_factor"]),
            item["start_period"],
        )
        for item in decode_json(stored)
    )


def credit_grants_of(stored: str, units: Units) -> tuple[PlanCreditGrant, ...]:
    """The column plan.credit_grants."""
    return tuple(
        PlanCreditGrant(
            name=item["name"],
            amount_granted=Decimal(item["amount_granted"]),
            granted_unit=units[UUID(item["amount_granted_credit_type_id"])],
            amount_paid=Decimal(item["amount_paid"]),
            paid_unit=units[UUID(item["amount_paid_credit_type_id"])],
            effective_duration=item["effective_duration"],
            priority=Decimal(item["priority"]),
            send_invoice=item["send_invoice"],
            reason=item["reason"],
            recurrence_interval=item["recurrence_interval"],
            recurrence_duration=item["recurrence_duration"],
        )
        for item in decode_json(stored)
    )


def charge_of(row: asyncpg.Record) -> Charge:
    """A row of charge."""
    conversion = row["unit_conversion"]
    return Charge(
        id=row["id"],
        name=row["name"],
        product_id=row["product_id"],
        product_name=row["product_name"],
        metric_id=row["billable_metric_id"],
        tiers=tuple(
            Tier(Decimal(price["tier"]), Decimal(price["value"]))
            for price in decode_json(row["prices"])
        ),
        unit_conversion=None if conversion is None else _conversion(decode_json(conversion)),
        charge_type=ChargeType(row["charge_type"]),
        tiering=Tiering(row["tiering"]),
        package_size=row["package_size"],
        quantity=row["quantity"],
        tier_reset_frequency=row["tier_reset_frequency"],
        start_period=row["start_period"],
        group_key=tuple(row["group_key"]),
        base_product_ids=tuple(row["base_product_ids"]),
        base_charge_ids=tuple(row["base_charge_ids"]),
    )


def _conversion(stored: dict[str, Any]) -> UnitConversion:
    rounding = stored.get("rounding_behavior")
    return UnitConversion(
        Decimal(stored["division_factor"]),
        None if rounding is None else RoundingBehavior(rounding),
    )
