"""Plans, charges, prices; customers on plans."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from services.runtime.json import decode_json
from tests.api.conftest import Api, Scenario

Play = Callable[[Scenario], None]
NOBODY = "00000000-0000-4000-8000-000000000000"


def charge(metric_id: str, **fields: object) -> dict[str, Any]:
    """A sound charge."""
    return {
        "name": "calls",
        "product_name": "API",
        "billable_metric_id": metric_id,
        "prices": [{"tier": 0, "value": 1}],
        **fields,
    }


def test_a_plan_is_shown_as_it_was_made(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric()
        tiers = [{"tier": tier, "value": value} for tier, value in ((0, 10), (100, 9), (1000, 8))]
        body = {
            "name": "Standard",
            "description": "for all",
            "billing_frequency": "monthly",
            "custom_fields": {"a": "b"},
            "charges": [
                charge(metric, name="one", prices=tiers, charge_type="Usage"),
                charge(metric, name="two"),
                charge(
                    metric,
                    name="three",
                    product_name="Storage",
                    unit_conversion={"division_factor": 1_000_000, "rounding_behavior": "CEILING"},
                ),
            ],
        }
        plan = (await api.post("/v1/plans/create", body))["data"]["id"]
        plans = [item async for item in api.sdk.v1.plans.list(limit=1)]
        assert (plans[-1].id, plans[-1].name, plans[-1].description) == (
            plan,
            "Standard",
            "for all",
        )
        detail = (await api.sdk.v1.plans.get_details(plan_id=plan)).data
        assert detail.custom_fields == {"a": "b"}
        charges = [item async for item in api.sdk.v1.plans.list_charges(plan_id=plan, limit=2)]
        assert [item.name for item in charges] == ["one", "two", "three"]
        assert [(p.tier, p.value) for p in charges[0].prices] == [(0, 10), (100, 9), (1000, 8)]
        assert charges[0].product_id == charges[1].product_id != charges[2].product_id
        assert charges[0].credit_type.name == "USD (cents)"
        assert charges[0].unit_conversion is None
        assert charges[2].unit_conversion is not None
        assert charges[2].unit_conversion.division_factor == 1_000_000
        assert charges[2].unit_conversion.rounding_behavior == "ceiling"
        units = [item async for item in api.sdk.v1.pricing_units.list()]
        assert "USD (cents)" in [unit.name for unit in units]

    play(scenario)


def test_every_digit_of_a_price_is_kept(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric()
        digits = "0.1000000000000000000000000001"
        body = (
            '{"name": "exact", "charges": [{"name": "c", "product_name": "p",'
            f' "billable_metric_id": "{metric}", "prices": [{{"tier": 0, "value": {digits}}},'
            ' {"tier": "12345678901234567890.5", "value": 2.50}, {"tier": 1e30, "value": 1e3}]}]}'
        )
        reply = await api.http.post("/v1/plans/create", content=body.encode())
        plan = reply.json()["data"]["id"]
        shown = await api.http.get(f"/v1/planDetails/{plan}/charges")
        prices = decode_json(shown.content)["data"][0]["prices"]
        assert [str(price["value"]) for price in prices] == [digits, "2.5", "1000"]
        assert Decimal(prices[1]["tier"]) == Decimal("12345678901234567890.5")
        assert prices[2]["tier"] == 10**30
        stored = await api.pool.fetchval("SELECT prices::text FROM charge WHERE plan_id = $1", plan)
        assert f'"{digits}"' in stored

    play(scenario)


def test_every_fault_of_a_plan_is_named_at_once(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric()
        body = {
            "name": "bad",
            "billing_frequency": "DAILY",
            "charges": [
                charge(metric, prices=[{"tier": 1, "value": -1}, {"tier": 1, "value": "x"}]),
                charge(metric, prices=[{"tier": 0, "valu": 1}]),
                charge(metric, prices=[{"tier": 0, "value": 1}, {"tier": 0, "value": 1}]),
                charge(metric, charge_type="seat", prices=[]),
                charge("x", unit_conversion={"division_factor": 0}),
            ],
        }
        reply = await api.post("/v1/plans/create", body, expect=400)
        assert [item["field"] for item in reply["errors"]] == [
            "billing_frequency",
            "charges[0].prices[0].value",
            "charges[0].prices[1].value",
            "charges[1].prices[0].value",
            "charges[1].prices[0].valu",
            "charges[2].prices[1].tier",
            "charges[3].charge_type",
            "charges[3].prices",
            "charges[4].billable_metric_id",
            "charges[4].unit_conversion.division_factor",
        ]
        body = {
            "name": "bad",
            "credit_type_id": NOBODY,
            "charges": [charge(NOBODY), charge(metric), charge(NOBODY)],
        }
        reply = await api.post("/v1/plans/create", body, expect=400)
        assert [item["field"] for item in reply["errors"]] == [
            "credit_type_id",
            "charges[0].billable_metric_id",
            "charges[2].billable_metric_id",
        ]

    play(scenario)


@pytest.mark.parametrize("value", ["NaN", "Infinity", True, None, "1e39", "1e-39", "", [], "0x1"])
def test_a_price_is_a_number_within_bounds(play: Play, value: object) -> None:
    async def scenario(api: Api) -> None:
        charges = [charge(NOBODY, prices=[{"tier": 0, "value": value}])]
        reply = await api.post("/v1/plans/create", {"name": "p", "charges": charges}, expect=400)
        assert [item["field"] for item in reply["errors"]] == ["charges[0].prices[0].value"]

    play(scenario)


def test_a_customer_is_put_on_a_plan_and_taken_off(play: Play) -> None:
    async def scenario(api: Api) -> None:
        plan, customer = await api.make_plan(await api.make_metric()), await api.make_customer()
        await api.settle()
        plans = api.sdk.v1.customers.plans
        added = (
            await plans.add(
                customer_id=customer,
                plan_id=plan,
                starting_on="2026-09-15T00:00:00.000Z",
                ending_before="2026-11-01T02:00:00+02:00",
                net_payment_terms_days=30,
            )
        ).data
        assert await _marks(api, customer) == ["2026-09-01", "2026-10-01"]
        later = {"plan_id": plan, "starting_on": "2026-11-01T00:00:00Z"}
        path = f"/v1/customers/{customer}/plans"
        second = (await api.post(f"{path}/add", later))["data"]["id"]
        listed = [item async for item in plans.list(customer_id=customer, limit=1)]
        assert [item.id for item in listed] == [second, added.id]
        assert listed[0].ending_before is None
        assert listed[1].net_payment_terms_days == 30
        # A request sent twice does not bill twice.
        reply = await api.http.post(f"{path}/add", json=later)
        assert (reply.status_code, reply.headers["x-should-retry"]) == (409, "false")

        await api.settle()
        end = {"ending_before": "2026-11-10T00:00:00Z"}
        assert await api.post(f"{path}/{second}/end", end) == {}
        assert await _marks(api, customer) == ["2026-11-01"]
        assert (await api.get(path))["data"][0]["ending_before"] == "2026-11-10T00:00:00Z"
        await api.post(f"{path}/{second}/end", {"ending_before": "2026-11-01T00:00:00Z"}, 400)
        await plans.end(customer_id=customer, customer_plan_id=second)
        assert "ending_before" not in (await api.get(path))["data"][0]
        await api.post(f"{path}/{NOBODY}/end", {}, expect=404)

        for status, ids in (("active", [second]), ("ended", [added.id]), ("upcoming", [])):
            found = [
                item
                async for item in api.sdk.v1.plans.list_customers(plan_id=plan, status=status)  # type: ignore[arg-type]  # as users write
            ]
            assert [item.plan_details.customer_plan_id for item in found] == ids
        both = await api.get(f"/v1/planDetails/{plan}/customers", status="active,ended")
        assert len(both["data"]) == 2

    play(scenario)


async def _marks(api: Api, customer: str) -> list[str]:
    rows = await api.pool.fetch(
        "SELECT DISTINCT month FROM stale_draft WHERE customer_id = $1 ORDER BY month", customer
    )
    return [row["month"].isoformat() for row in rows]


def test_drafts_reach_thirteen_months_back_and_never_ahead(play: Play) -> None:
    async def scenario(api: Api) -> None:
        plan, customer = await api.make_plan(await api.make_metric()), await api.make_customer()
        await api.settle()
        path = f"/v1/customers/{customer}/plans/add"
        await api.post(path, {"plan_id": plan, "starting_on": "2027-01-01T00:00:00Z"})
        assert await _marks(api, customer) == []
        await api.post(path, {"plan_id": plan, "starting_on": "2020-01-01T00:00:00Z"})
        marks = await _marks(api, customer)
        assert (len(marks), marks[0], marks[-1]) == (14, "2025-10-01", "2026-11-01")
        await api.settle()
        aliases = {"ingest_aliases": ["moved"]}
        await api.post(f"/v1/customers/{customer}/setIngestAliases", aliases)
        assert await _marks(api, customer) == marks

    play(scenario)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"starting_on": "2026-11-01T01:00:00Z"}, "starting_on"),
        ({"starting_on": "2026-11-01T00:00:00+02:00"}, "starting_on"),
        ({"starting_on": "2026-11-01T00:00:00"}, "starting_on"),
        ({"starting_on": "2026-11-01"}, "starting_on"),
        ({"starting_on": 1793491200}, "starting_on"),
        ({"starting_on": "2026-13-01T00:00:00Z"}, "starting_on"),
        ({"starting_on": "0001-01-01T00:00:00+14:00"}, "starting_on"),
        ({"ending_before": "2026-11-01T00:00:00Z"}, "ending_before"),
        ({"plan_id": NOBODY}, "plan_id"),
        ({"trial_spec": {"length_in_days": 0}}, "trial_spec.length_in_days"),
        ({"trial_spec": {"length_in_days": "3"}}, "trial_spec.length_in_days"),
        ({"net_payment_terms_days": -1}, "net_payment_terms_days"),
    ],
)
def test_what_cannot_be_billed_is_refused(
    play: Play, fields: dict[str, object], field: str
) -> None:
    async def scenario(api: Api) -> None:
        plan, customer = await api.make_plan(await api.make_metric()), await api.make_customer()
        body = {"plan_id": plan, "starting_on": "2026-11-01T00:00:00Z", **fields}
        path = f"/v1/customers/{customer}/plans/add"
        reply = await api.post(path, body, expect=400)
        assert [item["field"] for item in reply["errors"]] == [field]

    play(scenario)


def test_empty_adjustments_are_as_good_as_none(play: Play) -> None:
    async def scenario(api: Api) -> None:
        plan, customer = await api.make_plan(await api.make_metric()), await api.make_customer()
        body: dict[str, object] = {
            "plan_id": plan,
            "starting_on": "2026-11-01T00:00:00Z",
            "price_adjustments": [],
            "trial_spec": None,
        }
        await api.post(f"/v1/customers/{customer}/plans/add", body)

    play(scenario)
