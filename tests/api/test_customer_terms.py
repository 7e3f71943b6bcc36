"""What a customer gets with a plan for itself: shown back, and refused with the field where it does
not fit.
"""

from collections.abc import Callable
from typing import Any

import pytest

from services.domain.meter import Aggregation
from tests.api.conftest import Api, Scenario
from tests.api.plan_invoices import charge, invoices, make_plan, put_on, use, utc

Play = Callable[[Scenario], None]
NOBODY = "00000000-0000-4000-8000-000000000000"
USD = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"


def test_price_adjustments_are_shown_by_charge_and_start(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric(), await api.make_customer()
        plan = await make_plan(
            api,
            charge(metric, (0, 10), (100, 9)),
            charge(None, name="fee", charge_type="fixed", product_name="Fee"),
        )
        calls, fee = (
            each["id"] for each in (await api.get(f"/v1/planDetails/{plan}/charges"))["data"]
        )
        asked: list[dict[str, Any]] = [
            {"charge_id": calls, "adjustment_type": "OVERRIDE", "value": 8, "tier": 100},
            {"charge_id": calls, "adjustment_type": "percentage", "value": "-0.05"},
            {"charge_id": fee, "adjustment_type": "quantity", "quantity": 3},
            {"charge_id": calls, "adjustment_type": "fixed", "value": 1, "start_period": 2},
        ]
        adjustments = [{"start_period": 0, **each} for each in asked]
        held = await put_on(api, customer, plan, "2026-11-01", price_adjustments=adjustments)
        listing = api.sdk.v1.customers.plans.list_price_adjustments
        shown = [
            each async for each in listing(customer_id=customer, customer_plan_id=held, limit=1)
        ]
        assert [(s.charge_id, s.charge_type, s.start_period, s.quantity) for s in shown] == [
            (calls, "usage", 0, None),
            (fee, "fixed", 0, 3),
            (calls, "usage", 2, None),
        ]
        assert [(p.adjustment_type, p.tier, p.value) for p in shown[0].prices] == [
            ("override", 100, 8),
            ("percentage", None, -0.05),
        ]
        path = f"/v1/customers/{customer}/plans"
        await api.get(f"{path}/{NOBODY}/priceAdjustments", 404)
        assert "trial_info" not in (await api.get(path))["data"][0]

    play(scenario)


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("price_adjustments[0].value", {"value": None}),
        ("price_adjustments[0].quantity", {"quantity": 1}),
        ("price_adjustments[0].charge_id", {"charge_id": NOBODY}),
        ("price_adjustments[0].tier", {"tier": 7}),
        ("price_adjustments[0].adjustment_type", {"adjustment_type": "free"}),
        ("price_adjustments[0].value", {"adjustment_type": "fixed", "value": -11}),
        ("price_adjustments[0].start_period", {"start_period": None}),
    ],
)
def test_adjustments_that_do_not_fit_are_refused_with_the_field(
    play: Play, field: str, changed: dict[str, object]
) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric(), await api.make_customer()
        plan = await make_plan(api, charge(metric, (0, 10)))
        [calls] = (await api.get(f"/v1/planDetails/{plan}/charges"))["data"]
        adjustment = {
            "charge_id": calls["id"],
            "adjustment_type": "override",
            "start_period": 0,
            "value": 1,
            **changed,
        }
        body = {
            "plan_id": plan,
            "starting_on": "2026-11-01T00:00:00Z",
            "price_adjustments": [adjustment],
        }
        reply = await api.post(f"/v1/customers/{customer}/plans/add", body, 400)
        assert [each["field"] for each in reply["errors"]] == [field]

    play(scenario)


def test_a_trial_and_rates_that_do_not_fit_are_refused_together(play: Play) -> None:
    async def scenario(api: Api) -> None:
        plan, customer = await api.make_plan(await api.make_metric()), await api.make_customer()
        body = {
            "plan_id": plan,
            "starting_on": "2026-11-01T00:00:00Z",
            "trial_spec": {
                "length_in_days": 3_651,
                "spending_cap": {"amount": -1, "credit_type_id": NOBODY},
            },
            "overage_rate_adjustments": [
                {
                    "custom_credit_type_id": NOBODY,
                    "fiat_currency_credit_type_id": USD,
                    "to_fiat_conversion_factor": 0,
                }
            ],
        }
        reply = await api.post(f"/v1/customers/{customer}/plans/add", body, 400)
        assert [each["field"] for each in reply["errors"]] == [
            "overage_rate_adjustments[0].custom_credit_type_id",
            "overage_rate_adjustments[0].to_fiat_conversion_factor",
            "trial_spec.length_in_days",
            "trial_spec.spending_cap.amount",
            "trial_spec.spending_cap.credit_type_id",
        ]

    play(scenario)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"starting_on": "9999-12-01T00:00:00Z"}, "starting_on"),
        ({"starting_on": "0001-01-01T00:00:00Z"}, "starting_on"),
        ({"ending_before": "9999-12-31T00:00:00Z"}, "ending_before"),
    ],
)
def test_a_plan_on_a_day_that_no_calendar_goes_beyond_is_refused(
    play: Play, fields: dict[str, str], field: str
) -> None:
    """Pricing could not work out its period, and would stop for every customer."""

    async def scenario(api: Api) -> None:
        customer, plan = await api.make_customer(), await api.make_plan(await api.make_metric())
        body = {"plan_id": plan, "starting_on": "2026-11-01T00:00:00Z", **fields}
        reply = await api.post(f"/v1/customers/{customer}/plans/add", body, 400)
        assert [each["field"] for each in reply["errors"]] == [field]
        held = await put_on(api, customer, plan, "2026-11-01")
        if field == "ending_before":
            await api.post(f"/v1/customers/{customer}/plans/{held}/end", fields, 400)

    play(scenario)


@pytest.mark.parametrize("start", ["1970-01-01", "2999-12-31"])
@pytest.mark.parametrize("frequency", ["ANNUAL", "WEEKLY"])
def test_the_first_and_the_last_day_that_a_plan_may_have_are_priced(
    play: Play, start: str, frequency: str
) -> None:
    async def scenario(api: Api) -> None:
        metric, customer = await api.make_metric("SUM"), await api.make_customer("edge")
        plan = await make_plan(
            api, charge(metric, tier_reset_frequency=120), billing_frequency=frequency
        )
        await put_on(api, customer, plan, start, trial_spec={"length_in_days": 3_650})
        await use(api, Aggregation.SUM, [("edge", metric, (), utc(2026, 11, 2), "3")])
        listed = await invoices(api, customer)
        assert sum(each["total"] for each in listed) == (3 if start < "2026" else 0)
        await api.post(f"/v1/customers/{customer}/setIngestAliases", {"ingest_aliases": []})

    play(scenario)
