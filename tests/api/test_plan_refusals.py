"""Plans that would be priced otherwise than they read: refused, with the place and what to do."""

from collections.abc import Callable

import pytest

from tests.api.conftest import Api, Scenario
from tests.api.credits import USD
from tests.api.plan_invoices import charge, units

Play = Callable[[Scenario], None]


@pytest.mark.parametrize(
    ("looking", "field"),
    [
        ({"charge_type": "composite", "base_charge_names": ["calls", "share"]}, "charge_names[1]"),
        ({"charge_type": "composite", "base_product_names": ["Tax", "API"]}, "product_names[0]"),
        ({"charge_type": "minimum", "base_charge_names": ["calls", "least"]}, "charge_names[1]"),
        # A minimum may look at composites, and passes over the minimum in a product of others.
        ({"charge_type": "minimum", "base_charge_names": ["calls", "share"]}, None),
        ({"charge_type": "minimum", "base_product_names": ["API", "Tax"]}, None),
    ],
)
def test_a_base_that_would_be_passed_over_is_refused_by_its_place_in_the_request(
    play: Play, looking: dict[str, object], field: str | None
) -> None:
    """The name before it is that of a ramp, which is two charges."""

    async def scenario(api: Api) -> None:
        metric = await api.make_metric()
        charges = [
            charge(metric),
            charge(metric, start_period=1),
            charge(None, name="share", product_name="Tax", charge_type="composite"),
            charge(None, name="share", product_name="Tax", charge_type="composite", start_period=1),
            charge(None, name="least", charge_type="minimum"),
            charge(None, name="looking", product_name="Other", **looking),
        ]
        expect = 200 if field is None else 400
        reply = await api.post("/v1/plans/create", {"name": "p", "charges": charges}, expect)
        if field is not None:
            assert [each["field"] for each in reply["errors"]] == [f"charges[5].base_{field}"]
            assert "name a" in reply["errors"][0]["reason"]

    play(scenario)


@pytest.mark.parametrize(
    ("rates", "start", "field", "words"),
    [
        ([("EUR", 1)], 0, "start_period", "there is no overage rate"),
        ([("USD (cents)", 0), ("EUR", 1)], 0, "start_period", "is into USD (cents)"),
        ([("EUR", 0), ("USD (cents)", 3)], 0, "credit_type_id", "add one in USD (cents)"),
        ([("USD (cents)", 0), ("EUR", 1)], 1, None, ""),
    ],
)
def test_a_minimum_that_some_periods_would_be_without_is_refused(
    play: Play, rates: list[tuple[str, int]], start: int, field: str | None, words: str
) -> None:
    async def scenario(api: Api) -> None:
        unit = await units(api)
        minimum = {"name": "m", "value": 10, "credit_type_id": unit["EUR"], "start_period": start}
        body = {
            "name": "p",
            "credit_type_id": unit["credits"],
            "charges": [charge(await api.make_metric())],
            "minimums": [minimum],
            "overage_rates": [
                {
                    "fiat_credit_type_id": unit[name],
                    "to_fiat_conversion_factor": 1,
                    "start_period": begins,
                }
                for name, begins in rates
            ],
        }
        reply = await api.post("/v1/plans/create", body, 200 if field is None else 400)
        if field is not None:
            assert [each["field"] for each in reply["errors"]] == [f"minimums[0].{field}"]
            assert words in reply["errors"][0]["reason"]

    play(scenario)


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"tier_reset_frequency": 1.5}, "tier_reset_frequency", "whole number from 1 to 120"),
        ({"tier_reset_frequency": "2"}, "tier_reset_frequency", "1 to 120, not text"),
        ({"tier_reset_frequency": None}, "tier_reset_frequency", "1 to 120, not null"),
        ({"start_period": True}, "start_period", "from 0 to 5200, not true"),
        ({"start_period": 5_201}, "start_period", "from 0 to 5200"),
        ({"prices": [{"tier": 0, "value": None}]}, "prices[0].value", "missing"),
        ({"prices": [{"tier": 0, "value": True}]}, "prices[0].value", "a number, not true"),
        ({"prices": [{"tier": 0, "value": "free"}]}, "prices[0].value", "a number, not other text"),
        ({"prices": [{"tier": 0, "value": 10**38}]}, "prices[0].value", "at most 38 digits"),
    ],
)
def test_a_refused_number_is_told_what_it_is_to_be(
    play: Play, changed: dict[str, object], field: str, words: str
) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "p", "charges": [{**charge(await api.make_metric()), **changed}]}
        reply = await api.post("/v1/plans/create", body, 400)
        assert [each["field"] for each in reply["errors"]] == [f"charges[0].{field}"]
        assert words in reply["errors"][0]["reason"]

    play(scenario)


def test_a_grant_of_a_plan_takes_no_rollover(play: Play) -> None:
    """Not even an empty one."""

    async def scenario(api: Api) -> None:
        grant = {
            "name": "welcome",
            "amount_granted": 100,
            "amount_granted_credit_type_id": USD,
            "amount_paid": 0,
            "amount_paid_credit_type_id": USD,
            "effective_duration": 1,
            "priority": 1,
            "rollover_settings": {},
        }
        charges = [charge(await api.make_metric())]
        body = {"name": "p", "charges": charges, "credit_grants": [grant]}
        reply = await api.post("/v1/plans/create", body, 400)
        assert [each["field"] for each in reply["errors"]] == ["credit_grants[0].rollover_settings"]
        del grant["rollover_settings"]
        await api.post("/v1/plans/create", body)

    play(scenario)
