"""Plans as PostgreSQL holds them. A plan never changes once made, so it is kept. Reads only."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from services.domain.money import CreditType
from services.domain.plan import Charge, Plan, RoundingBehavior, Tier, UnitConversion
from services.runtime.json import decode_json

# Far more plans than any catalog has; past it the shelf is emptied.
PLANS_MAX = 10_000


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
        plans = await connection.fetch(
            "SELECT p.id, p.name, t.id AS unit_id, t.name AS unit_name, t.decimal_places"
            " FROM plan p JOIN credit_type t ON t.id = p.credit_type_id WHERE p.id = ANY($1)",
            plan_ids,
        )
        charges = await connection.fetch(
            "SELECT id, plan_id, name, product_id, product_name, billable_metric_id, prices,"
            " unit_conversion FROM charge WHERE plan_id = ANY($1) ORDER BY plan_id, position",
            plan_ids,
        )
        for row in plans:
            self._plans[row["id"]] = Plan(
                row["id"],
                row["name"],
                CreditType(row["unit_id"], row["unit_name"], row["decimal_places"]),
                tuple(_charge(charge) for charge in charges if charge["plan_id"] == row["id"]),
            )


def _charge(row: asyncpg.Record) -> Charge:
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
    )


def _conversion(stored: dict[str, Any]) -> UnitConversion:
    rounding = stored.get("rounding_behavior")
    return UnitConversion(
        Decimal(stored["division_factor"]),
        None if rounding is None else RoundingBehavior(rounding),
    )
