"""Usage that comes too late for a finalized invoice: counted, shown in usage, listed against the
invoice, which stays as it is.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from services.cli import main
from services.domain.money import USD_CENTS_ID
from tests.api.plan_invoices import charge, make_plan
from tests.life.conftest import Scenario
from tests.life.world import DUE, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]


async def _usage(world: World, customer: str) -> float:
    """Of November, by the usage query."""
    body = {
        "starting_on": "2026-11-01T00:00:00Z",
        "ending_before": "2026-12-01T00:00:00Z",
        "window_size": "none",
        "customer_ids": [customer],
        "billable_metrics": [{"id": str(world.metric)}],
    }
    [window] = (await world.api.post("/v1/usage", body))["data"]
    return float(window["value"])


def test_late_usage_is_listed_and_the_invoice_stays(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _, invoice = await world.finalized("acme", 5)
        nothing = await world.late(invoice["id"])
        assert (nothing["charges"], nothing["noted_at"]) == ([], None)
        assert nothing["total"] == {"finalized": 5, "current": 5, "late": 0}
        assert "late_usage" not in invoice

        world.use("acme", 37, NOVEMBER + 2 * HOUR)
        await world.settle()
        assert await _usage(world, customer) == 42
        after = await world.invoice(customer)
        would_be = after.pop("late_usage")
        assert (would_be["total"], would_be["subtotal"]) == (42, 42)
        assert after == invoice
        late = await world.late(invoice["id"])
        assert late["total"] == {"finalized": 5, "current": 42, "late": 37}
        [charge] = late["charges"]
        assert (charge["product_name"], charge["charge_name"]) == ("API", "calls")
        assert charge["quantity"] == {"finalized": 5, "current": 42, "late": 37}

        # A correction brings it back to what was billed.
        world.use("acme", -37, NOVEMBER + 2 * HOUR)
        await world.settle()
        assert await world.invoice(customer) == invoice
        assert (await world.late(invoice["id"]))["charges"] == []

    play(scenario)


def test_an_alias_that_brings_usage_along_is_late(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _, invoice = await world.finalized("acme", 5)
        world.use("other", 2, NOVEMBER)
        await world.settle()
        assert (await world.late(invoice["id"]))["charges"] == []
        body = {"ingest_aliases": ["acme", "other"]}
        await world.api.post(f"/v1/customers/{customer}/setIngestAliases", body)
        await world.settle()
        assert (await world.late(invoice["id"]))["total"]["late"] == 2
        assert (await world.invoice(customer))["total"] == 5

    play(scenario)


def test_what_is_noted_first_keeps_its_time(play: Play) -> None:
    async def scenario(world: World) -> None:
        _, _, invoice = await world.finalized("acme", 5)
        world.use("acme", 1, NOVEMBER)
        await world.settle()
        first = await world.late(invoice["id"])
        world.now += timedelta(hours=3)
        world.use("acme", 0, NOVEMBER)
        await world.settle()
        assert (await world.late(invoice["id"]))["noted_at"] == first["noted_at"]
        world.use("acme", 1, NOVEMBER)
        await world.settle()
        assert (await world.late(invoice["id"]))["noted_at"] > first["noted_at"]

    play(scenario)


def test_another_generation_leaves_final_invoices_and_lists_what_it_finds(play: Play) -> None:
    """Promoted and rolled back: final invoices stay, drafts and late usage follow."""

    async def scenario(world: World) -> None:
        customer, _, invoice = await world.finalized("acme", 5)
        await world.promote_with("acme", 8)
        await world.settle()
        after = await world.invoice(customer)
        assert after.pop("late_usage")["total"] == 8
        assert after == invoice
        await world.promote_with("acme", 5)
        await world.settle()
        assert await world.invoice(customer) == invoice

    play(scenario)


def test_late_usage_of_groups_of_several_properties_in_a_unit_of_ones_own(play: Play) -> None:
    """Each group by itself; the line that makes a currency of the unit is no charge."""

    async def scenario(world: World) -> None:
        api = world.api
        world.metric = UUID(await api.make_metric("SUM", group_keys=[["region", "zone"]]))
        unit = (await api.post("/v1/credit-types/create", {"name": "credits"}))["data"]["id"]
        rate = {"fiat_credit_type_id": str(USD_CENTS_ID), "to_fiat_conversion_factor": 2}
        calls = charge(str(world.metric), group_key=["zone", "region"])
        world.plan = await make_plan(api, calls, credit_type_id=unit, overage_rates=[rate])
        customer, _ = await world.customer("acme")
        for group in ("ea", "eb", "ua"):
            world.use("acme", 1, NOVEMBER, group=group)
        world.now = DUE + HOUR
        await world.settle()
        invoice = await world.invoice(customer)
        assert (invoice["status"], invoice["total"]) == ("FINALIZED", 6)
        assert (await world.late(invoice["id"]))["charges"] == []
        world.use("acme", 10, NOVEMBER, group="eb")
        world.use("acme", 5, NOVEMBER, group="ub")
        await world.settle()
        late = await world.late(invoice["id"])
        assert late["total"] == {"finalized": 6, "current": 36, "late": 30}
        assert [
            (each["presentation_group_values"], each["quantity"]) for each in late["charges"]
        ] == [
            ({"zone": "b", "region": "e"}, {"finalized": 1, "current": 11, "late": 10}),
            ({"zone": "b", "region": "u"}, {"finalized": 0, "current": 5, "late": 5}),
        ]

    play(scenario)


def test_operators_see_the_late_invoices_of_all_customers(
    play: Play,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Newest first, page by page; a void one is no longer listed."""
    for name, value in (
        ("DATABASE_URL", database_url),
        ("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1"),
        ("REDIS_URL", "redis://127.0.0.1:1"),
    ):
        monkeypatch.setenv(name, value)

    async def late(*arguments: str) -> str:
        assert await asyncio.to_thread(main, ["late", *arguments]) == 0
        return capsys.readouterr().out

    async def scenario(world: World) -> None:
        assert await late() == "none\n"
        invoices = []
        for name in ("acme", "bolt", "corp"):
            customer, _ = await world.customer(name)
            world.use(name, 5, NOVEMBER + HOUR)
            invoices.append(customer)
        world.now = DUE + HOUR
        await world.settle()
        for name in ("bolt", "acme"):
            world.now += HOUR
            world.use(name, 37, NOVEMBER)
            await world.settle()
        first = json.loads(await late("--json", "--limit", "1"))
        second = json.loads(await late("--json", "--after", first["next"]))
        [acme], [bolt] = first["late"], second["late"]
        assert (acme["customer_id"], acme["customer_name"]) == (invoices[0], "acme")
        assert (acme["finalized"], acme["current"], acme["late"]) == (5, 42, 37)
        assert (bolt["customer_id"], second["next"]) == (invoices[1], None)
        shown = await late()
        assert shown.count("5 as it is, 42 USD (cents) with what came late") == 2
        await world.api.post("/v1/invoices/void", {"id": acme["invoice_id"]})
        assert [each["customer_name"] for each in json.loads(await late("--json"))["late"]] == [
            "bolt"
        ]
        assert await asyncio.to_thread(_refused, "late", "--after", "x") == 2

    play(scenario)


def _refused(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code
