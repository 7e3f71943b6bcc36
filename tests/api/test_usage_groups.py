"""Usage of one customer under one metric by group, and its arithmetic against the domain's."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.domain.aggregate import Aggregate, Latest
from services.domain.meter import Aggregation
from services.domain.number import plain
from services.runtime.json import decode_json
from tests.api.conftest import Api
from tests.api.usage_rows import DAY, Fact, Play, count, counted, grouped_metric, query


def test_groups_by_simple_and_compound_keys_in_pages(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer, metric = await api.make_customer("h"), await grouped_metric(api)
        facts: list[Fact] = [
            ("h", (area, zone), DAY + timedelta(days=day), "1")
            for area in ("n", "s", None)
            for zone in ("eu", "us")
            for day in (0, 1)
        ]
        await count(api, metric, Aggregation.SUM, facts)

        async def ask(limit: int = 100, **fields: object) -> list[Any]:
            body = query(customer_id=customer, billable_metric_id=metric, **fields)
            listing = api.sdk.v1.usage.list_with_groups(limit=limit, **body)
            return [item async for item in listing]

        for limit in (1, 2, 3, 100):
            simple = await ask(limit, group_key=["zone"])
            assert [(i.starting_on.day, i.group_value, i.value) for i in simple] == [
                (2, "eu", 3),
                (2, "us", 3),
                (3, "eu", 3),
                (3, "us", 3),
            ]
            assert {i.group_key for i in simple} == {"zone"}
            compound = await ask(limit, group_key=["zone", "area"])
            assert len(compound) == 12
            assert compound[0].group == {"zone": "eu"}
            assert compound[1].group == {"zone": "eu", "area": "n"}
            assert (compound[1].group_key, compound[1].group_value) == (None, None)
        filtered = await ask(
            group_key=["area", "zone"], group_filters={"zone": ["us"], "area": ["n", "s"]}
        )
        assert [i.group for i in filtered[:2]] == [
            {"area": "n", "zone": "us"},
            {"area": "s", "zone": "us"},
        ]
        assert len(filtered) == 4
        assert len(await ask(group_key=["zone"], group_filters={"zone": []})) == 4
        older = await ask(group_by={"key": "zone", "values": ["us"]})
        assert [i.group_value for i in older] == ["us", "us"]
        missing = await ask(group_key=["area"])
        assert [(i.group_value, i.group) for i in missing[:2]] == [(None, {}), ("n", {"area": "n"})]
        assert [i.value for i in await ask(1)] == [6, 6]

    play(scenario)


def test_the_current_period_is_that_of_the_active_plan(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer, metric = await api.make_customer("p"), await api.make_metric()
        await count(api, metric, Aggregation.COUNT, [("p", (), DAY, "x")])
        body = {
            "customer_id": customer,
            "billable_metric_id": metric,
            "window_size": "NONE",
            "current_period": True,
        }
        reply = await api.post("/v1/usage/groups", body, 400)
        assert "no active plan" in reply["message"]
        plan = {"plan_id": await api.make_plan(metric), "starting_on": "2026-11-02T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/add", plan)
        (item,) = (await api.post("/v1/usage/groups", body))["data"]
        assert (item["starting_on"], item["ending_before"], item["value"]) == (
            "2026-11-02T00:00:00Z",
            "2026-12-01T00:00:00Z",
            1,
        )

    play(scenario)


def test_the_current_period_of_a_plan_that_is_billed_by_the_quarter(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer, metric = await api.make_customer("q"), await api.make_metric()
        plan = await api.make_plan(metric, billing_frequency="QUARTERLY")
        start = {"plan_id": plan, "starting_on": "2026-01-15T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/add", start)
        body = {
            "customer_id": customer,
            "billable_metric_id": metric,
            "window_size": "NONE",
            "current_period": True,
        }
        (item,) = (await api.post("/v1/usage/groups", body))["data"]
        assert item["starting_on"] == "2026-10-01T00:00:00Z"
        assert item["ending_before"] == "2027-01-01T00:00:00Z"

    play(scenario)


def test_queries_that_make_no_sense_are_refused(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer, metric = await api.make_customer(), await grouped_metric(api)
        one = {"customer_id": customer, "billable_metric_id": metric}
        zones = {"zone": [str(number) for number in range(201)]}
        for fields, field in (
            ({"window_size": "WEEK"}, "window_size"),
            ({"ending_before": DAY.isoformat()}, "ending_before"),
            ({"starting_on": "2026-11-02T01:00:00Z"}, "starting_on"),
            ({"starting_on": None}, "starting_on"),
            ({"current_period": True}, "current_period"),
            ({"group_key": ["nope"]}, "group_key"),
            ({"group_key": []}, "group_key"),
            ({"group_filters": {"zone": ["a"]}}, "group_filters.zone"),
            ({"group_key": ["zone"], "group_filters": zones}, "group_filters"),
            ({"group_key": ["zone"], "group_by": {"key": "zone"}}, "group_by"),
            ({"group_by": {"key": "nope"}}, "group_by.key"),
        ):
            reply = await api.post("/v1/usage/groups", {**query(), **one, **fields}, 400)
            assert reply["errors"][0]["field"] == field, reply
        nobody = "00000000-0000-4000-8000-000000000000"
        await api.post("/v1/usage/groups", query(**{**one, "customer_id": nobody}), 404)
        await api.post("/v1/usage/groups", query(**{**one, "billable_metric_id": nobody}), 404)
        await api.post("/v1/usage", query(customer_ids=[nobody]), 404)
        await api.post("/v1/usage", query(billable_metrics=[{"id": nobody}]), 404)
        twice = query(billable_metrics=[{"id": metric}, {"id": metric}])
        reply = await api.post("/v1/usage", twice, 400)
        assert reply["errors"][0]["field"] == "billable_metrics[1].id"
        for path, body in (("/v1/usage", query()), ("/v1/usage/groups", query(**one))):
            await api.post(f"{path}?next_page=!", body, 400)

    play(scenario)


@pytest.mark.parametrize("kind", list(Aggregation))
def test_postgres_merges_as_the_domain_does(play: Play, kind: Aggregation) -> None:
    async def scenario(api: Api) -> None:
        seed = random.randrange(10**6)
        chance = random.Random(seed)
        names = [f"{kind.value}-{index}" for index in range(3)]
        customer, metric = await api.make_customer(*names), await grouped_metric(api, kind.value)
        facts: list[Fact] = [
            (
                chance.choice(names),
                (chance.choice(["n", "s"]), chance.choice(["eu", "us", None])),
                DAY + timedelta(minutes=30 * chance.randrange(96)),
                str(Decimal(chance.randrange(-(10**30), 10**30)).scaleb(-15)),
            )
            for _ in range(60)
        ]
        await count(api, metric, kind, facts)
        expected: dict[tuple[int, str | None], Aggregate] = {}
        for offset, (_, (_, zone), at, value) in enumerate(facts):
            one = Aggregate(count=1, distinct={value})
            if kind not in (Aggregation.COUNT, Aggregation.UNIQUE):
                one = counted(kind, Latest(at, 0, offset, Decimal(value)))
            expected.setdefault(((at - DAY).days, zone), Aggregate()).merge(one)
        body = query(customer_id=customer, billable_metric_id=metric, group_key=["zone"])
        reply = decode_json((await api.http.post("/v1/usage/groups", json=body)).content)
        seen = {
            (int(item["starting_on"][8:10]) - 2, item["group_value"]): Decimal(item["value"])
            for item in reply["data"]
        }
        wanted = {}
        for key, aggregate in expected.items():
            quantity = aggregate.quantity(kind)
            assert quantity is not None
            wanted[key] = plain(quantity)
        assert seen == wanted, f"seed {seed}"

    play(scenario)
