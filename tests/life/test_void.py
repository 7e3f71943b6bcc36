"""Void and regenerate, and a plan that ends inside what is final: by the official client."""

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

import pytest
from metronome import BadRequestError, ConflictError, NotFoundError

from services.runtime.json import decode_json
from tests.life.conftest import Scenario
from tests.life.world import DECEMBER, DUE, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]


def test_a_void_invoice_is_made_again_from_what_is_known_now(play: Play) -> None:
    async def scenario(world: World) -> None:
        invoices = world.api.sdk.v1.invoices
        customer, _, first = await world.finalized("acme", 5)
        world.use("acme", 37, NOVEMBER)
        await world.settle()
        voided = (await invoices.void(id=first["id"])).data
        assert voided is not None
        assert voided.id == first["id"]
        # Nothing but regenerating makes another one.
        world.use("acme", 1, NOVEMBER)
        await world.settle()
        assert [each["status"] for each in await world.invoices(customer, status="VOID")] == [
            "VOID"
        ]
        with pytest.raises(ValueError, match="unpack"):
            await world.invoice(customer)

        made = (await invoices.regenerate(id=first["id"])).data
        assert made is not None
        draft = await world.invoice(customer)
        assert (draft["id"], draft["status"]) == (made.id, "DRAFT")
        assert (draft["total"], draft["as_of"]) == (5, first["as_of"])  # not priced yet
        await world.settle()
        again = await world.invoice(customer)
        assert (again["id"], again["status"], again["total"]) == (made.id, "FINALIZED", 43)
        assert again["regenerated_from_invoice_id"] == first["id"]
        assert datetime.fromisoformat(again["issued_at"]) == world.now
        [void] = await world.invoices(customer, status="VOID")
        assert (void["id"], void["total"]) == (first["id"], 5)
        # And again.
        await invoices.void(id=made.id)
        third = (await invoices.regenerate(id=made.id)).data
        await world.settle()
        assert third is not None
        assert (await world.invoice(customer))["regenerated_from_invoice_id"] == made.id
        audit = await world.pool.fetch(
            "SELECT action, entity_id, actor, detail FROM catalog_audit"
            " WHERE action LIKE 'invoice.%' ORDER BY version"
        )
        assert [row["action"] for row in audit] == ["invoice.void", "invoice.regenerate"] * 2
        assert str(audit[0]["entity_id"]) == first["id"]
        assert decode_json(audit[1]["detail"])["regenerated_from"] == first["id"]
        assert {row["actor"] for row in audit} == {"tester"}

    play(scenario)


def test_it_waits_for_its_period_and_grace(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _, first = await world.finalized("acme", 5)
        await world.api.post("/v1/invoices/void", {"id": first["id"]})
        world.now = DUE - HOUR  # as if the grace had become longer
        await world.api.post("/v1/invoices/regenerate", {"id": first["id"]})
        await world.settle()
        assert await world.status(customer) == "DRAFT"
        world.use("acme", 1, NOVEMBER)
        await world.settle()
        assert (await world.invoice(customer))["total"] == 6
        world.now = DUE
        await world.settle()
        assert await world.status(customer) == "FINALIZED"

    play(scenario)


def test_what_is_not_for_an_invoice_is_refused(play: Play) -> None:
    async def scenario(world: World) -> None:
        api, invoices = world.api, world.api.sdk.v1.invoices
        customer, _, final = await world.finalized("acme", 5)
        draft = await world.invoice(customer, DECEMBER)
        with pytest.raises(ConflictError, match="is a DRAFT"):
            await invoices.void(id=draft["id"])
        with pytest.raises(ConflictError, match="only a VOID invoice"):
            await invoices.regenerate(id=draft["id"])
        with pytest.raises(ConflictError, match="is FINALIZED; void it first"):
            await invoices.regenerate(id=final["id"])
        for call in (invoices.void, invoices.regenerate):
            with pytest.raises(NotFoundError):
                await call(id=str(uuid4()))
            with pytest.raises(BadRequestError, match="id: must be a UUID"):
                await call(id="x")
        for path in ("void", "regenerate"):
            await api.post(f"/v1/invoices/{path}", {}, 400)
            await api.post(f"/v1/invoices/{path}", {"id": final["id"], "x": 1}, 400)
        await invoices.void(id=final["id"])
        with pytest.raises(ConflictError, match="is VOID already"):
            await invoices.void(id=final["id"])
        made = (await invoices.regenerate(id=final["id"])).data
        assert made is not None
        with pytest.raises(ConflictError, match=f"was regenerated as {made.id}"):
            await invoices.regenerate(id=final["id"])
        with pytest.raises(ConflictError, match=f"VOID already; invoice {made.id}"):
            await invoices.void(id=final["id"])
        await api.get(f"/v1/tollgate/invoices/{uuid4()}/late-usage", 404)
        await api.get("/v1/tollgate/invoices/x/late-usage", 404)
        assert await world.pool.fetchval("SELECT count(*) FROM invoice") == 3

    play(scenario)


def test_invoices_of_an_archived_customer_stay_as_they_are(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _, final = await world.finalized("acme", 5)
        await world.api.post("/v1/customers/archive", {"id": customer})
        world.use("acme", 1, NOVEMBER)
        await world.settle()
        statuses = {each["id"]: each["status"] for each in await world.invoices(customer)}
        assert statuses.pop(final["id"]) == "FINALIZED"
        assert list(statuses.values()) == ["VOID"]
        await world.api.post("/v1/invoices/void", {"id": final["id"]})
        for each in (final["id"], *statuses):
            reply = await world.api.post("/v1/invoices/regenerate", {"id": each}, 409)
            assert "is archived" in reply["message"]

    play(scenario)


MIDDLE = "2026-11-11T00:00:00Z"


def test_a_plan_ends_inside_what_is_final_only_by_voiding_it(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, customer_plan = await world.customer("acme")
        world.use("acme", 5, NOVEMBER)
        world.use("acme", 7, NOVEMBER.replace(day=11))
        world.now = DUE
        await world.settle()
        final = await world.invoice(customer)
        assert (final["total"], (await world.invoice(customer, DECEMBER))["total"]) == (12, 0)
        path = f"/v1/customers/{customer}/plans/{customer_plan}/end"
        refusal = await world.api.post(path, {"ending_before": MIDDLE}, 400)
        assert "void_invoices" in refusal["errors"][0]["reason"]
        await world.settle()
        assert await world.invoice(customer) == final

        await world.api.sdk.v1.customers.plans.end(
            customer_id=customer,
            customer_plan_id=customer_plan,
            ending_before=datetime.fromisoformat(MIDDLE),
            void_invoices=True,
        )
        await world.settle()
        [void] = await world.invoices(customer)  # December's draft is gone
        assert (void["id"], void["status"]) == (final["id"], "VOID")
        await world.api.post("/v1/invoices/regenerate", {"id": final["id"]})
        await world.settle()
        short = await world.invoice(customer)
        assert (short["status"], short["total"], short["end_timestamp"]) == (
            "FINALIZED",
            5,
            MIDDLE,
        )
        # The end taken away again: what comes after the 11th could not be billed.
        reply = await world.api.post(path, {}, 400)
        assert "longer" in reply["errors"][0]["reason"]
        await world.api.post(path, {"void_invoices": True})
        await world.api.post("/v1/invoices/regenerate", {"id": short["id"]})
        await world.settle()
        whole = await world.invoice(customer)
        assert (whole["status"], whole["total"]) == ("FINALIZED", 12)

    play(scenario)


def test_a_void_invoice_of_a_period_that_is_gone_is_not_made_again(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, customer_plan, final = await world.finalized("acme", 5)
        world.now = DUE.replace(year=2027, month=1)
        await world.settle()
        december = await world.invoice(customer, DECEMBER)
        assert december["status"] == "FINALIZED"
        path = f"/v1/customers/{customer}/plans/{customer_plan}/end"
        end = {"ending_before": DECEMBER.isoformat(), "void_invoices": True}
        await world.api.post(path, end)
        assert await world.invoice(customer) == final
        reply = await world.api.post("/v1/invoices/regenerate", {"id": december["id"]}, 409)
        assert "no more" in reply["message"]
        # The plan goes on after all.
        await world.api.post(path, {})
        await world.api.post("/v1/invoices/regenerate", {"id": december["id"]})
        await world.settle()
        assert (await world.invoice(customer, DECEMBER))["status"] == "FINALIZED"

    play(scenario)
