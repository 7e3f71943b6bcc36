"""Billable metrics: what may be counted, and how it is shown."""

from collections.abc import Callable

import pytest
from metronome import NotFoundError

from tests.api.conftest import Api, Scenario

Play = Callable[[Scenario], None]
CREATE = "/v1/billable-metrics/create"


def test_walk_through_with_the_official_client(play: Play) -> None:
    async def scenario(api: Api) -> None:
        metrics = api.sdk.v1.billable_metrics
        made = (
            await metrics.create(
                name="CPU hours",
                aggregation_type="SUM",
                aggregation_key="cpu_hours",
                event_type_filter={"in_values": ["cpu_usage"]},
                property_filters=[
                    {"name": "cpu_hours", "exists": True},
                    {"name": "region", "exists": True, "in_values": ["EU", "NA"]},
                    {"name": "machine", "in_values": ["slow", "fast"]},
                ],
                group_keys=[["region"], ["region", "machine"]],
                custom_fields={"a": "b"},
            )
        ).data
        read = (await metrics.retrieve(billable_metric_id=made.id)).data
        assert read.aggregation_type == "SUM"
        assert read.group_keys == [["region"], ["region", "machine"]]
        assert read.property_filters is not None
        assert read.property_filters[1].in_values == ["EU", "NA"]
        assert read.event_type_filter is not None
        assert read.event_type_filter.not_in_values is None
        await metrics.update(billable_metric_id=made.id, name="CPU")
        customer = await api.make_customer()
        shown = [
            item
            async for item in api.sdk.v1.customers.list_billable_metrics(customer_id=customer)
            if item.id == made.id
        ]
        assert shown[0].name == "CPU"
        assert shown[0].group_by == ["region", "machine"]
        assert (shown[0].aggregate, shown[0].aggregate_keys) == ("sum", ["cpu_hours"])
        await metrics.archive(id=made.id)
        assert made.id not in [item.id async for item in metrics.list()]
        archived = [item async for item in metrics.list(include_archived=True)]
        assert next(item for item in archived if item.id == made.id).archived_at is not None
        with pytest.raises(NotFoundError):
            await metrics.retrieve(billable_metric_id="8deed800-1b7a-495d-a207-6c52bac54dc9")

    play(scenario)


def test_any_spelling_is_taken_and_answered_in_capitals(play: Play) -> None:
    async def scenario(api: Api) -> None:
        for spelling in ("count", "Count", "COUNT"):
            metric = await api.make_metric(spelling) if spelling == "COUNT" else None
            reply = await api.post(CREATE, {"name": "c", "aggregation_type": spelling})
            read = await api.get(f"/v1/billable-metrics/{metric or reply['data']['id']}")
            assert read["data"]["aggregation_type"] == "COUNT"

    play(scenario)


def test_filters_may_be_absent_altogether(play: Play) -> None:
    async def scenario(api: Api) -> None:
        body = {
            "name": "bytes",
            "aggregation_type": "sum",
            "aggregation_key": "bytes",
            "group_keys": [["region"]],
        }
        metric = (await api.post(CREATE, body))["data"]["id"]
        read = (await api.get(f"/v1/billable-metrics/{metric}"))["data"]
        assert "property_filters" not in read
        row = await api.pool.fetchrow(
            "SELECT created_version FROM billable_metric WHERE id = $1", metric
        )
        assert row[0] == await api.pool.fetchval("SELECT version FROM catalog_version")

    play(scenario)


@pytest.mark.parametrize(
    ("fields", "faulty"),
    [
        ({"name": "n"}, ["aggregation_type"]),
        ({"aggregation_type": "COUNT"}, ["name"]),
        ({"name": "n", "aggregation_type": "MEAN"}, ["aggregation_type"]),
        ({"name": "n", "aggregation_type": "SUM"}, ["aggregation_key"]),
        ({"name": "n", "aggregation_type": "COUNT", "aggregation_key": "k"}, ["aggregation_key"]),
        (
            {
                "name": "n",
                "aggregation_type": "MAX",
                "aggregation_key": "k",
                "property_filters": [{"name": "other", "exists": True}],
                "group_keys": [["other"], ["third"], ["other", "third"]],
            },
            ["aggregation_key", "group_keys[1]", "group_keys[2]"],
        ),
        (
            {"name": "n", "aggregation_type": "COUNT", "event_type_filter": {"in_values": []}},
            ["event_type_filter.in_values"],
        ),
        (
            {
                "name": "n",
                "aggregation_type": "COUNT",
                "property_filters": [{"name": "p", "exist": True}, {"in_values": []}],
                "group_keys": [[]],
            },
            [
                "property_filters[0].exist",
                "property_filters[1].name",
                "property_filters[1].in_values",
                "group_keys[0]",
            ],
        ),
        ({"name": "n", "sql": "select 1"}, ["sql"]),
    ],
)
def test_an_unsound_metric_is_refused_with_every_fault(
    play: Play, fields: dict[str, object], faulty: list[str]
) -> None:
    async def scenario(api: Api) -> None:
        reply = await api.post(CREATE, fields, expect=400)
        assert [item["field"] for item in reply["errors"]] == faulty

    play(scenario)


def test_the_message_about_the_key_is_the_known_one(play: Play) -> None:
    async def scenario(api: Api) -> None:
        body = {
            "name": "n",
            "aggregation_type": "SUM",
            "aggregation_key": "k",
            "property_filters": [{"name": "other"}],
        }
        reply = await api.post(CREATE, body, expect=400)
        known = "The specified aggregation key must be one of the property filter names"
        assert known in reply["message"]

    play(scenario)


def test_metrics_on_the_current_plan(play: Play) -> None:
    async def scenario(api: Api) -> None:
        priced, other = await api.make_metric(), await api.make_metric()
        customer, plan = await api.make_customer(), await api.make_plan(priced)
        path = f"/v1/customers/{customer}/billable-metrics"
        assert (await api.get(path, on_current_plan="true"))["data"] == []
        body = {"plan_id": plan, "starting_on": "2026-11-01T00:00:00Z"}
        await api.post(f"/v1/customers/{customer}/plans/add", body)
        reply = await api.get(path, on_current_plan="true")
        assert [item["id"] for item in reply["data"]] == [priced]
        everything = [item["id"] for item in (await api.get(path))["data"]]
        assert {priced, other} <= set(everything)

    play(scenario)
