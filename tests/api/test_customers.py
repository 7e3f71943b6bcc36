"""Customers and their aliases."""

import asyncio
from collections.abc import Callable

import pytest
from metronome import BadRequestError, ConflictError

from tests.api.conftest import Api, Scenario

Play = Callable[[Scenario], None]


def test_walk_through_with_the_official_client(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = (
            await api.sdk.v1.customers.create(
                name="x" * 200,
                ingest_aliases=["team@example.com", "second"],
                external_id="first",
                custom_fields={"region": "EU"},
                customer_billing_provider_configurations=[
                    {"billing_provider": "stripe", "configuration": {"stripe_customer_id": "c"}}
                ],
            )
        ).data
        assert made.name == "x" * 160
        assert made.external_id == "first"
        assert made.ingest_aliases == ["first", "team@example.com", "second"]
        read = (await api.sdk.v1.customers.retrieve(customer_id=made.id)).data
        assert read.custom_fields == {"region": "EU"}
        assert read.archived_at is None
        await api.sdk.v1.customers.set_ingest_aliases(
            customer_id=made.id, ingest_aliases=["b", "a"]
        )
        renamed = (await api.sdk.v1.customers.set_name(customer_id=made.id, name="Beta")).data
        assert (renamed.name, renamed.ingest_aliases) == ("Beta", ["b", "a"])
        found = [item async for item in api.sdk.v1.customers.list(ingest_alias="a")]
        assert [item.id for item in found] == [made.id]
        assert [item async for item in api.sdk.v1.customers.list(ingest_alias="first")] == []
        archived = (await api.sdk.v1.customers.archive(id=made.id)).data
        assert archived.id == made.id
        active = [item.id async for item in api.sdk.v1.customers.list()]
        assert made.id not in active
        past = [item async for item in api.sdk.v1.customers.list(only_archived=True)]
        assert [item.id for item in past] == [made.id]
        assert past[0].archived_at is not None

    play(scenario)


def test_a_customer_without_aliases_goes_by_its_id(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = (await api.post("/v1/customers", {"name": "plain"}))["data"]
        assert made["external_id"] == made["id"]
        assert made["ingest_aliases"] == []
        # The id, given back as an alias, stays what it was.
        path = f"/v1/customers/{made['id']}/setIngestAliases"
        assert await api.post(path, {"ingest_aliases": [made["id"], "z1", "z1"]}) is None
        read = await api.get(f"/v1/customers/{made['id']}")
        assert read["data"]["ingest_aliases"] == ["z1"]

    play(scenario)


def test_an_alias_belongs_to_one_customer(play: Play) -> None:
    async def scenario(api: Api) -> None:
        first = await api.make_customer("taken")
        body = {"name": "other", "ingest_aliases": ["free", "taken"]}
        reply = await api.http.post("/v1/customers", json=body)
        assert reply.status_code == 409
        assert reply.headers["x-should-retry"] == "false"
        assert "taken" in reply.json()["message"]
        # Nothing of it was kept.
        assert (await api.get("/v1/customers", ingest_alias="free"))["data"] == []
        await api.post("/v1/customers", {"name": "o", "ingest_aliases": [first]}, expect=409)
        with pytest.raises(ConflictError):
            await api.sdk.v1.customers.create(name="o", ingest_aliases=["taken"])

    play(scenario)


def test_two_creates_with_one_alias_leave_one_customer(play: Play) -> None:
    async def scenario(api: Api) -> None:
        body = {"name": "race", "ingest_aliases": ["raced"]}
        replies = await asyncio.gather(
            *(api.http.post("/v1/customers", json=body) for _ in range(4))
        )
        assert sorted(reply.status_code for reply in replies) == [200, 409, 409, 409]
        assert len((await api.get("/v1/customers", ingest_alias="raced"))["data"]) == 1

    play(scenario)


def test_pages_end_and_a_strange_cursor_is_refused(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = [await api.make_customer() for _ in range(5)]
        pages = [item.id async for item in api.sdk.v1.customers.list(limit=2)]
        assert [item for item in pages if item in made] == made
        some = await api.get("/v1/customers", customer_ids=f"{made[0]},{made[3]}")
        assert [item["id"] for item in some["data"]] == [made[0], made[3]]
        assert some["next_page"] is None
        for query in (
            {"next_page": "@@"},
            {"next_page": "WyJhIl0"},
            {"next_page": "WzkyMjMzNzIwMzY4NTQ3NzU4MDhd"},
            {"limit": 0},
            {"limit": 101},
            {"customer_ids": "x"},
            {"ingest_alias": "a\0"},
        ):
            reply = await api.get("/v1/customers", expect=400, **query)
            assert reply["errors"][0]["field"] == next(iter(query))

    play(scenario)


def test_every_fault_is_named_at_once(play: Play) -> None:
    async def scenario(api: Api) -> None:
        body = {
            "ingest_aliases": ["", "ok", "y" * 129],
            "custom_fields": {"a": 1},
            "ingest_alias": "typo",
        }
        reply = await api.post("/v1/customers", body, expect=400)
        fields = {item["field"] for item in reply["errors"]}
        assert fields == {
            "name",
            "ingest_aliases[0]",
            "ingest_aliases[2]",
            "custom_fields.a",
            "ingest_alias",
        }
        assert "5 faults" in reply["message"]
        with pytest.raises(BadRequestError):
            await api.sdk.v1.customers.create(name="")

    play(scenario)


def test_every_change_is_audited_under_its_version(play: Play) -> None:
    async def scenario(api: Api) -> None:
        before = await api.pool.fetchval("SELECT version FROM catalog_version")
        made = await api.make_customer("audited")
        await api.post("/v1/customers", {"name": "o", "ingest_aliases": ["audited"]}, expect=409)
        row = await api.pool.fetchrow("SELECT * FROM catalog_audit ORDER BY version DESC LIMIT 1")
        assert row["version"] == before + 1
        assert await api.pool.fetchval("SELECT version FROM catalog_version") == before + 1
        assert (row["actor"], row["action"]) == ("tester", "customer.create")
        assert str(row["entity_id"]) == made

    play(scenario)


def test_an_archived_customer_takes_no_more_changes(play: Play) -> None:
    async def scenario(api: Api) -> None:
        made = await api.make_customer("kept")
        await api.post("/v1/customers/archive", {"id": made})
        await api.post("/v1/customers/archive", {"id": made})
        await api.post(f"/v1/customers/{made}/setName", {"name": "n"}, expect=409)
        await api.post("/v1/customers", {"name": "n", "ingest_aliases": ["kept"]}, expect=409)

    play(scenario)
