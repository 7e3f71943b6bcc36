"""Trials, overage rates and grants that make no sense are refused, with the field."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from services.domain.customer_plan_faults import (
    TrialSpec,
    grant_faults,
    overage_faults,
    trial_faults,
)
from services.domain.money import USD_CENTS
from services.domain.plan import OverageRate
from services.domain.pricing.terms import OverageRateAdjustment
from tests.domain.plan_parts import PRODUCT, TOKENS, charge, grant, plan, utc


@pytest.mark.parametrize(
    ("trial", "fields"),
    [
        (TrialSpec(14), []),
        (TrialSpec(14, Decimal(0), USD_CENTS.id), []),
        (TrialSpec(0), ["length_in_days"]),
        (TrialSpec(3651), ["length_in_days"]),
        (TrialSpec(14, Decimal(-1), USD_CENTS.id), ["spending_cap.amount"]),
        (TrialSpec(14, Decimal(1), TOKENS.id), ["spending_cap.credit_type_id"]),
        (TrialSpec(14, Decimal(1)), ["spending_cap.credit_type_id"]),
    ],
)
def test_trials(trial: TrialSpec, fields: list[str]) -> None:
    found = trial_faults(plan(charge()), trial)
    assert [fault.field for fault in found] == [f"trial_spec.{field}" for field in fields]


def own(fiat: UUID, factor: str) -> OverageRateAdjustment:
    return OverageRateAdjustment(TOKENS.id, fiat, Decimal(factor))


@pytest.mark.parametrize(
    ("adjustments", "fields"),
    [
        ([own(USD_CENTS.id, "5")], []),
        ([own(UUID(int=3), "5")], ["[0].custom_credit_type_id"]),
        ([own(USD_CENTS.id, "0")], ["[0].to_fiat_conversion_factor"]),
        ([own(USD_CENTS.id, "5"), own(USD_CENTS.id, "6")], ["[1]"]),
    ],
)
def test_overage_rates(adjustments: list[OverageRateAdjustment], fields: list[str]) -> None:
    priced = plan(
        charge(), unit=TOKENS, overage_rates=(OverageRate(TOKENS, USD_CENTS, Decimal(1)),)
    )
    found = overage_faults(priced, adjustments)
    assert [fault.field for fault in found] == [f"overage_rate_adjustments{f}" for f in fields]


@pytest.mark.parametrize(
    ("says", "paid", "fields"),
    [
        ({}, "0", []),
        ({"amount": Decimal(0)}, "0", ["grant_amount.amount"]),
        ({}, "-1", ["paid_amount.amount"]),
        ({"priority": Decimal(0)}, "0", ["priority"]),
        ({"effective_at": utc(2026, 5), "expires_at": utc(2026, 5)}, "0", ["expires_at"]),
        ({"product_ids": (PRODUCT, PRODUCT)}, "0", ["product_ids"]),
    ],
)
def test_grants(says: dict[str, Any], paid: str, fields: list[str]) -> None:
    found = grant_faults(replace(grant("5"), **says), Decimal(paid))
    assert [fault.field for fault in found] == fields
    assert all(fault.reason for fault in found)
