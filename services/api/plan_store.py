"""Storing a plan. Numbers inside jsonb are text, so that no reader of a column can lose a digit;
`services.runtime.plan_rows` reads them back.
"""

from collections.abc import Mapping
from typing import Any

import asyncpg

from services.api.plan_bodies import CreatePlan
from services.domain.number import text_of
from services.domain.plan import Charge, Minimum, OverageRate, Plan, PlanCreditGrant
from services.runtime.json import encode_json

_CHARGE = """
INSERT INTO charge (id, plan_id, position, name, product_id, product_name, charge_type,
    billable_metric_id, prices, unit_conversion, custom_fields, tiering, package_size, quantity,
    tier_reset_frequency, start_period, group_key, base_product_ids, base_charge_ids)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)
"""
_PLAN = """
INSERT INTO plan (id, name, description, billing_frequency, billing_cycle, credit_type_id,
    custom_fields, created_at, minimums, overage_rates, credit_grants)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""


async def insert_plan(
    connection: asyncpg.Connection, plan: Plan, body: CreatePlan, now: object
) -> None:
    """Store a plan with its charges; `body`: what the domain does not look at."""
    await connection.execute(
        _PLAN,
        plan.id,
        plan.name,
        body.description or "",
        plan.billing_frequency.value,
        plan.billing_cycle.value,
        plan.unit.id,
        _json(body.custom_fields or {}),
        now,
        _json([_minimum(each) for each in plan.minimums]),
        _json([_overage_rate(each) for each in plan.overage_rates]),
        _json([_credit_grant(each) for each in plan.credit_grants]),
    )
    rows = [
        _charge_row(plan, position, charge, asked.custom_fields or {})
        for position, (charge, asked) in enumerate(zip(plan.charges, body.charges, strict=True))
    ]
    await connection.executemany(_CHARGE, rows)


def _charge_row(
    plan: Plan, position: int, charge: Charge, custom_fields: Mapping[str, str]
) -> tuple[object, ...]:
    return (
        charge.id,
        plan.id,
        position,
        charge.name,
        charge.product_id,
        charge.product_name,
        charge.charge_type.value,
        charge.metric_id,
        _json(stored_prices(charge)),
        _conversion(charge),
        _json(custom_fields),
        charge.tiering.value,
        charge.package_size,
        charge.quantity,
        charge.tier_reset_frequency,
        charge.start_period,
        list(charge.group_key),
        list(charge.base_product_ids),
        list(charge.base_charge_ids),
    )


def stored_prices(charge: Charge) -> list[dict[str, str]]:
    """The column charge.prices."""
    return [
        {"tier": text_of(tier.starts_after), "value": text_of(tier.price)} for tier in charge.tiers
    ]


def _conversion(charge: Charge) -> str | None:
    conversion = charge.unit_conversion
    if conversion is None:
        return None
    return _json(
        {
            "division_factor": text_of(conversion.division_factor),
            "rounding_behavior": conversion.rounding,
        }
    )


def _minimum(minimum: Minimum) -> dict[str, Any]:
    return {
        "name": minimum.name,
        "value": text_of(minimum.value),
        "credit_type_id": minimum.unit.id,
        "start_period": minimum.start_period,
    }


def _overage_rate(rate: OverageRate) -> dict[str, Any]:
    return {
        "credit_type_id": rate.unit.id,
        "fiat_credit_type_id": rate.fiat.id,
        "to_fiat_conversion_factor": text_of(rate.to_fiat_conversion_factor),
        "start_period": rate.start_period,
    }


def _credit_grant(grant: PlanCreditGrant) -> dict[str, Any]:
    return {
        "name": grant.name,
        "amount_granted": text_of(grant.amount_granted),
        "amount_granted_credit_type_id": grant.granted_unit.id,
        "amount_paid": text_of(grant.amount_paid),
        "amount_paid_credit_type_id": grant.paid_unit.id,
        "effective_duration": grant.effective_duration,
        "priority": text_of(grant.priority),
        "send_invoice": grant.send_invoice,
        "reason": grant.reason,
        "recurrence_interval": grant.recurrence_interval,
        "recurrence_duration": grant.recurrence_duration,
    }


def _json(value: object) -> str:
    return encode_json(value).decode()
