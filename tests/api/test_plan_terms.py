"""All of Metronome's Plans model over the API: made, shown back exactly, refused with every field
that contradicts itself named.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.runtime.json import decode_json
from tests.api.conftest import Api, Scenario
from tests.api.plan_invoices import charge, units

Play = Callable[[Scenario], None]
NOBODY = "00000000-0000-4000-8000-000000000000"
USD = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"


def everything(metric: str, unit: dict[str, str]) -> dict[str, Any]:
    """A plan with all that a plan may have."""
    return {
        "name": "everything",
        "billing_frequency": "annual",
        "billing_cycle": "Anniversary",
        "credit_type_id": unit["credits"],
        "charges": [
            charge(
                metric,
                (0, "0.1000000000000000000000000001"),
                (10, 2),
                tiering="volume",
                package_size="2.5",
                tier_reset_frequency=2,
                group_key=["zone", "region"],
                unit_conversion={"division_factor": 3},
            ),
            charge(metric, (0, 7), start_period=2, group_key=["region"]),
            charge(None, name="fee", charge_type="FIXED", quantity="1.5", product_name="Fee"),
            charge(
                None,
                (0, "0.05"),
                name="share",
                charge_type="composite",
                product_name="Share",
                base_product_names=["API"],
                base_charge_names=["fee"],
            ),
            charge(None, (0, 50), name="least", charge_type="minimum", product_name="Fee"),
        ],
        "minimums": [
            {"name": "m", "value": "10.5"},
            {"name": "n", "value": 20, "credit_type_id": unit["EUR"], "start_period": 3},
        ],
        "overage_rates": [
            {"fiat_credit_type_id": unit["EUR"], "to_fiat_conversion_factor": "0.0000001"}
        ],
        "credit_grants": [
            {
                "name": "welcome",
                "amount_granted": 100,
                "amount_granted_credit_type_id": unit["credits"],
                "amount_paid": "9.99",
                "amount_paid_credit_type_id": unit["EUR"],
                "effective_duration": 2,
                "priority": "0.5",
                "send_invoice": True,
                "reason": "hello",
                "recurrence_interval": 1,
                "recurrence_duration": 12,
            }
        ],
    }


def test_a_plan_of_everything_is_shown_as_it_was_made(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric("SUM", group_keys=[["region", "zone"]])
        unit = await units(api)
        plan = (await api.post("/v1/plans/create", everything(metric, unit)))["data"]["id"]
        detail = (await api.sdk.v1.plans.get_details(plan_id=plan)).data
        assert detail.minimums is not None
        assert [(m.name, m.value, m.credit_type.name, m.start_period) for m in detail.minimums] == [
            ("m", 10.5, "credits", 0),
            ("n", 20, "EUR", 3),
        ]
        assert detail.overage_rates is not None
        [rate] = detail.overage_rates
        assert (rate.credit_type.name, rate.fiat_credit_type.name) == ("credits", "EUR")
        assert (rate.to_fiat_conversion_factor, rate.start_period) == (1e-7, 0)
        assert detail.credit_grants is not None
        [grant] = detail.credit_grants
        assert (grant.amount_granted, grant.amount_paid, grant.priority) == (100, 9.99, "0.5")
        assert (grant.send_invoice, grant.reason, grant.effective_duration) == (True, "hello", 2)
        assert (grant.recurrence_interval, grant.recurrence_duration) == (1, 12)
        raw = (await api.get(f"/v1/planDetails/{plan}"))["data"]
        assert (raw["billing_frequency"], raw["billing_cycle"]) == ("ANNUAL", "ANNIVERSARY")
        assert raw["credit_type"]["name"] == "credits"

        listed = [each async for each in api.sdk.v1.plans.list_charges(plan_id=plan)]
        assert [each.charge_type for each in listed] == [
            "usage", "usage", "fixed", "composite", "minimum",
        ]  # fmt: skip
        assert [each.start_period for each in listed] == [0, 2, 0, 0, 0]
        assert [each.tier_reset_frequency for each in listed] == [2, 1, 1, 1, 1]
        assert [each.quantity for each in listed] == [None, None, 1.5, None, None]
        reply = await api.http.get(f"/v1/planDetails/{plan}/charges")
        first, _, fee, share, least = decode_json(reply.content)["data"]
        assert str(first["prices"][0]["value"]) == "0.1000000000000000000000000001"
        assert (first["tiering"], str(first["package_size"])) == ("VOLUME", "2.5")
        assert (first["group_key"], fee["tiering"]) == (["zone", "region"], "GRADUATED")
        assert share["base_product_ids"] == [first["product_id"]]
        assert share["base_charge_ids"] == [fee["id"]]
        assert least["product_id"] == fee["product_id"]
        assert not {"billable_metric_id", "base_product_ids", "group_key"} & fee.keys()

    play(scenario)


@pytest.mark.parametrize(
    ("fields", "changed", "field"),
    [
        ({}, {"group_key": ["area"]}, "charges[0].group_key"),
        ({}, {"charge_type": "fixed"}, "charges[0].billable_metric_id"),
        ({}, {"billable_metric_id": None}, "charges[0].billable_metric_id"),
        ({}, {"quantity": 2}, "charges[0].quantity"),
        ({}, {"package_size": 0}, "charges[0].package_size"),
        ({}, {"tier_reset_frequency": 0}, "charges[0].tier_reset_frequency"),
        ({}, {"tier_reset_frequency": 121}, "charges[0].tier_reset_frequency"),
        ({}, {"start_period": -1}, "charges[0].start_period"),
        ({}, {"start_period": 1.5}, "charges[0].start_period"),
        ({}, {"start_period": True}, "charges[0].start_period"),
        ({}, {"tiering": "steps"}, "charges[0].tiering"),
        ({}, {"base_product_names": ["API"]}, "charges[0].base_product_names"),
        ({}, {"base_charge_names": ["no"]}, "charges[0].base_charge_names[0]"),
        ({"minimums": [{"name": "m", "value": -1}]}, {}, "minimums[0].value"),
        (
            {"minimums": [{"name": "m", "value": 1, "credit_type_id": NOBODY}]},
            {},
            "minimums[0].credit_type_id",
        ),
        (
            {"overage_rates": [{"fiat_credit_type_id": USD, "to_fiat_conversion_factor": 1}]},
            {},
            "overage_rates[0].credit_type_id",
        ),
        (
            {
                "credit_grants": [
                    {
                        "name": "g",
                        "amount_granted": 0,
                        "amount_granted_credit_type_id": USD,
                        "amount_paid": 0,
                        "amount_paid_credit_type_id": USD,
                        "effective_duration": 1,
                        "priority": 1,
                    }
                ]
            },
            {},
            "credit_grants[0].amount_granted",
        ),
        ({"billing_cycle": "MOON"}, {}, "billing_cycle"),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused_with_the_field(
    play: Play, fields: dict[str, object], changed: dict[str, object], field: str
) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric("SUM", group_keys=[["region"]])
        body = {"name": "p", "charges": [{**charge(metric), **changed}], **fields}
        reply = await api.post("/v1/plans/create", body, 400)
        assert [each["field"] for each in reply["errors"]] == [field]

    play(scenario)


def test_an_archived_metric_is_named_as_such(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric()
        await api.post("/v1/billable-metrics/archive", {"id": metric})
        body = {"name": "p", "charges": [charge(metric), charge(metric, start_period=1)]}
        reply = await api.post("/v1/plans/create", body, 400)
        assert [each["field"] for each in reply["errors"]] == [
            "charges[0].billable_metric_id",
            "charges[1].billable_metric_id",
        ]
        assert "archived" in reply["errors"][0]["reason"]

    play(scenario)


def test_a_name_of_a_pricing_unit_is_given_once(play: Play) -> None:
    async def scenario(api: Api) -> None:
        await api.post("/v1/credit-types/create", {"name": "once"})
        await api.post("/v1/credit-types/create", {"name": "once"}, 409)
        await api.post("/v1/credit-types/create", {"name": "EUR"}, 409)
        mine = [each async for each in api.sdk.v1.pricing_units.list() if each.name == "once"]
        assert [each.is_currency for each in mine] == [False]

    play(scenario)


def test_a_number_of_periods_that_takes_hours_to_write_out_is_refused_at_once(play: Play) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "p", "charges": [charge(await api.make_metric(), start_period=7)]}
        text = json.dumps(body).replace(": 7", ": 1e9999999")
        reply = await api.http.post("/v1/plans/create", content=text)
        assert reply.status_code == 400
        assert [each["field"] for each in reply.json()["errors"]] == ["charges[0].start_period"]
        text = json.dumps(body).replace(": 7", ": 7.0")
        assert (await api.http.post("/v1/plans/create", content=text)).status_code == 200

    play(scenario)
