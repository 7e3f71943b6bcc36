"""Usage of many customers and metrics: windows, groups, pages."""

import asyncio
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx

from services.domain.meter import Aggregation
from services.runtime.json import decode_json
from tests.api.conftest import Api
from tests.api.usage_rows import DAY, Fact, Play, count, grouped_metric, query, values


def test_usage_of_a_customer_is_the_merge_over_its_references(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer, metric = await api.make_customer("u-a", "u-b"), await api.make_metric("SUM")
        facts: list[Fact] = [
            ("u-a", (), DAY, "0.1"),
            ("u-b", (), DAY + timedelta(hours=23, minutes=59), "0.2"),
            (customer, (), DAY + timedelta(days=1), "12345678901234567890.12345678901"),
            ("stranger", (), DAY, "1000"),
            ("u-a", (), DAY - timedelta(hours=1), "500"),
            ("u-a", (), DAY + timedelta(days=2), "500"),
        ]
        await count(api, metric, Aggregation.SUM, facts)
        named = query(customer_ids=[customer], billable_metrics=[{"id": metric}])
        raw = await api.http.post("/v1/usage", json=named)
        reply = decode_json(raw.content)
        assert values(reply) == [Decimal("0.3"), Decimal("12345678901234567890.12345678901")]
        first = reply["data"][0]
        assert first["start_timestamp"] == "2026-11-02T00:00:00Z"
        assert first["end_timestamp"] == "2026-11-03T00:00:00Z"
        assert (first["customer_id"], first["billable_metric_name"]) == (customer, "m")
        hours = await api.post("/v1/usage", {**named, "window_size": "hour"})
        assert len(hours["data"]) == 48
        assert [hours["data"][index]["value"] for index in (0, 1, 23)] == [0.1, 0, 0.2]
        none = await api.post("/v1/usage", {**named, "window_size": "None"})
        assert len(none["data"]) == 1
        items = [item async for item in api.sdk.v1.usage.list(**named)]
        assert items[0].value == 0.3

    play(scenario)


def test_windows_without_usage(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer = await api.make_customer()
        for kind, nothing in (("COUNT", 0), ("SUM", 0), ("UNIQUE", 0), ("MAX", None)):
            metric = await api.make_metric(kind)
            named = query(customer_ids=[customer], billable_metrics=[{"id": metric}])
            assert values(await api.post("/v1/usage", named)) == [nothing, nothing]
            one = query(customer_id=customer, billable_metric_id=metric)
            assert values(await api.post("/v1/usage/groups", one)) == [nothing, nothing]
        # What the query leaves open is answered where there is usage.
        assert (await api.post("/v1/usage", query(customer_ids=[customer])))["data"] == []

    play(scenario)


def test_usage_is_split_by_a_group_and_rolled_up(play: Play) -> None:
    async def scenario(api: Api) -> None:
        customer, metric = await api.make_customer("g"), await grouped_metric(api)
        # The grain is (area, zone).
        facts: list[Fact] = [
            ("g", ("n", "eu"), DAY, "1"),
            ("g", ("s", "eu"), DAY, "2"),
            ("g", ("n", "us"), DAY, "4"),
            ("g", ("n", None), DAY, "8"),
        ]
        await count(api, metric, Aggregation.SUM, facts)

        def named(**group_by: object) -> dict[str, Any]:
            metrics = [{"id": metric, "group_by": {"key": "zone", **group_by}}]
            return query(customer_ids=[customer], billable_metrics=metrics)

        reply = await api.post("/v1/usage", named())
        assert values(reply) == [15, 0]
        assert [item["groups"] for item in reply["data"]] == [{"eu": 3, "us": 4}, {}]
        reply = await api.post("/v1/usage", named(values=["us", "xx"]))
        assert [item["groups"] for item in reply["data"]] == [
            {"us": 4, "xx": None},
            {"us": None, "xx": None},
        ]
        items = [item async for item in api.sdk.v1.usage.list(**named())]
        assert items[0].groups == {"eu": 3, "us": 4}
        bad = query(
            customer_ids=[customer],
            billable_metrics=[{"id": metric, "group_by": {"key": "nope"}}],
        )
        reply = await api.post("/v1/usage", bad, 400)
        assert reply["errors"][0]["field"] == "billable_metrics[0].group_by.key"
        assert "[zone]" in reply["message"]

    play(scenario)


def test_pages_of_usage_are_whole_and_in_order(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric, other = await api.make_metric(), await api.make_metric()
        customers = [await api.make_customer(f"page-{index}") for index in range(3)]
        for target in (metric, other):
            facts: list[Fact] = [(f"page-{index}", (), DAY, "x") for index in range(3)]
            await count(api, target, Aggregation.COUNT, facts)
        # 6 pairs of 744 hours: pages of 1,000 end within a pair.
        body = query(
            "HOUR", 31, customer_ids=customers, billable_metrics=[{"id": metric}, {"id": other}]
        )
        rows: list[tuple[str, str, str]] = []
        cursor = None
        pages = 0
        while pages == 0 or cursor is not None:
            address = httpx.URL("/v1/usage", params={} if cursor is None else {"next_page": cursor})
            reply = await api.post(str(address), body)
            keys = ("customer_id", "billable_metric_id", "start_timestamp")
            rows += [tuple(item[key] for key in keys) for item in reply["data"]]
            cursor, pages = reply["next_page"], pages + 1
        assert (pages, len(rows), len(set(rows))) == (5, 6 * 744, 6 * 744)
        order = [(customer, each) for customer in customers for each in (metric, other)]
        assert list(dict.fromkeys(row[:2] for row in rows)) == order
        ungiven = await api.post("/v1/usage", query("NONE", billable_metrics=[{"id": metric}]))
        assert [item["customer_id"] for item in ungiven["data"]] == customers

    play(scenario)


def test_reads_and_changes_at_once(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metric = await api.make_metric()
        customer = await api.make_customer("busy")
        body = query(customer_ids=[customer], billable_metrics=[{"id": metric}])
        asks = [api.post("/v1/usage", body) for _ in range(10)]
        makes = [api.make_customer() for _ in range(10)]
        done = await asyncio.gather(*asks, *makes)
        assert len(done) == 20

    play(scenario)
