"""When a draft becomes final: never before the grace is over, never without usage that was accepted
by then, never twice, and never a draft whose period is about to change.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg
import pytest

from services.domain.invoice_life import Finality
from services.projector import finalizer, finals_postgres
from services.runtime.log import RAW
from tests.life.conftest import Scenario
from tests.life.world import DECEMBER, DUE, GRACE, HOUR, NOVEMBER, PARTITIONS, World

Play = Callable[[Scenario], None]
MILLISECOND = timedelta(milliseconds=1)


def test_a_draft_is_final_when_its_grace_is_over(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        world.use("acme", 5, NOVEMBER)
        world.use("acme", 7, DECEMBER)
        await world.settle()
        world.now = DUE - MILLISECOND
        world.use("acme", 2, DECEMBER - MILLISECOND)
        await world.settle()
        before = await world.invoice(customer)
        assert (before["status"], before["total"]) == ("DRAFT", 7)
        assert "issued_at" not in before
        world.now = DUE
        await world.settle()
        after = await world.invoice(customer)
        assert (after["id"], after["status"], after["total"]) == (before["id"], "FINALIZED", 7)
        assert datetime.fromisoformat(after["issued_at"]) == DUE
        # Partitions without usage since then are not behind.
        assert datetime.fromisoformat(after["as_of"]) == DUE
        assert (await world.invoice(customer, DECEMBER))["status"] == "DRAFT"
        listed = await world.invoices(customer, status="FINALIZED")
        assert [each["id"] for each in listed] == [after["id"]]
        read = await world.api.sdk.v1.customers.invoices.retrieve(
            customer_id=customer, invoice_id=after["id"]
        )
        assert read.data.issued_at == DUE

    play(scenario)


async def _lag(world: World) -> None:
    """Usage that was accepted in time waits in one partition; the others have gone on."""
    customer, _ = await world.customer("acme")
    world.use("acme", 5, NOVEMBER, partition=0)
    await world.count()
    world.now = DUE - MILLISECOND
    world.use("acme", 3, DECEMBER - HOUR, partition=1)
    world.now = DUE + HOUR
    world.use("acme", 9, DECEMBER, partition=0)
    await world.count(0)
    await world.price()
    await world.finalize()
    assert await world.status(customer) == "DRAFT"
    await world.count(1)
    # Not priced yet: what is final is priced when it becomes so.
    await world.finalize()
    invoice = await world.invoice(customer)
    assert (invoice["status"], invoice["total"]) == ("FINALIZED", 8)


def test_lag_in_one_partition_holds_it_back(play: Play) -> None:
    play(_lag)


def test_without_the_positions_lag_would_hide_usage(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test before."""

    def reached(end: datetime, *_: object) -> Finality:
        return Finality(end + GRACE, in_grace=False, partitions_behind=())

    for module in (finalizer, finals_postgres):
        monkeypatch.setattr(module, "finality", reached)
    with pytest.raises(AssertionError, match="FINALIZED"):
        play(_lag)


def test_usage_accepted_after_the_grace_holds_nothing_back(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        world.now = DUE
        world.use("acme", 9, DECEMBER - HOUR, partition=2)
        await world.finalize()
        assert (await world.invoice(customer))["total"] == 0
        assert await world.status(customer) == "FINALIZED"

    play(scenario)


def test_a_log_that_was_cut_is_as_far_as_it_was(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        for _ in range(3):
            world.use("acme", 1, NOVEMBER, partition=1)
        await world.count(1)
        world.use("acme", 1, NOVEMBER, partition=1)
        world.log.truncate(RAW, 1, 3)
        world.now = DUE
        await world.finalize()
        assert await world.status(customer) == "DRAFT"
        await world.count(1)
        world.log.truncate(RAW, 1, 4)  # nothing is left of it
        await world.finalize()
        invoice = await world.invoice(customer)
        assert (invoice["status"], invoice["total"]) == ("FINALIZED", 4)

    play(scenario)


def test_two_projectors_finalize_each_invoice_once(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finals_postgres, "BATCH", 4)

    async def scenario(world: World) -> None:
        customers = [(await world.customer(f"c{number}"))[0] for number in range(30)]
        for number in range(30):
            world.use(f"c{number}", number, NOVEMBER, partition=number % PARTITIONS)
        await world.count()
        world.now = DUE
        written = await _writes(world)
        others = [world.another_finalizer() for _ in range(3)]
        await asyncio.gather(*(each.finalize_due() for each in (world.finalizer, *others)))
        await world.price()
        await world.finalize()  # what the others held
        invoices = [await world.invoice(customer) for customer in customers]
        assert [each["total"] for each in invoices] == list(range(30))
        assert {each["status"] for each in invoices} == {"FINALIZED"}
        assert await _writes(world) == written + 30

    play(scenario)


async def _writes(world: World) -> int:
    """How often an invoice became final, as the database saw it."""
    await world.pool.execute(
        "CREATE TABLE IF NOT EXISTS became_final (id uuid);"
        "CREATE OR REPLACE FUNCTION note_final() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO became_final VALUES (new.id); RETURN new; END $$;"
        "CREATE OR REPLACE TRIGGER note_final AFTER UPDATE ON invoice FOR EACH ROW"
        " WHEN (new.status = 'FINALIZED') EXECUTE FUNCTION note_final();"
    )
    return int(await world.pool.fetchval("SELECT count(*) FROM became_final"))


def test_a_batch_is_no_bound(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finals_postgres, "BATCH", 2)

    async def scenario(world: World) -> None:
        customers = [(await world.customer(f"c{number}"))[0] for number in range(5)]
        world.now = DUE
        await world.price()
        await world.finalize()
        assert {await world.status(customer) for customer in customers} == {"FINALIZED"}

    play(scenario)


@pytest.mark.parametrize("point", ["before_final_commit", "after_final_commit"])
def test_an_end_in_the_middle_leaves_drafts_or_final_invoices(
    play: Play, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    def reach(reached: str) -> None:
        if reached == point:
            raise KeyboardInterrupt

    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        world.use("acme", 5, NOVEMBER)
        await world.count()
        world.now = DUE
        monkeypatch.setattr(finals_postgres, "reach", reach)
        with pytest.raises(KeyboardInterrupt):
            await world.finalize()
        monkeypatch.undo()
        await world.price()
        invoice = await world.invoice(customer)
        expected = "DRAFT" if point == "before_final_commit" else "FINALIZED"
        assert (invoice["status"], invoice["total"]) == (expected, 5)
        world.now += HOUR
        await world.finalize()
        final = await world.invoice(customer)
        assert (final["status"], final["total"]) == ("FINALIZED", 5)
        assert expected == "DRAFT" or final == invoice

    play(scenario)


def test_a_plan_that_was_just_ended_waits_for_its_period(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, customer_plan = await world.customer("acme")
        world.use("acme", 5, NOVEMBER)
        world.use("acme", 7, NOVEMBER + timedelta(days=20))
        await world.count()
        await world.price()
        world.now = DUE
        end = {"ending_before": "2026-11-11T00:00:00Z"}
        await world.api.post(f"/v1/customers/{customer}/plans/{customer_plan}/end", end)
        await world.finalize()
        rows = await world.pool.fetch("SELECT status FROM invoice WHERE customer_id = $1", customer)
        assert [row["status"] for row in rows] == ["DRAFT"]
        await world.price()
        await world.finalize()
        invoice = await world.invoice(customer)
        assert (invoice["status"], invoice["total"]) == ("FINALIZED", 5)
        assert invoice["end_timestamp"] == "2026-11-11T00:00:00Z"

    play(scenario)


def test_one_that_waits_holds_up_no_other(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finals_postgres, "BATCH", 1)

    async def scenario(world: World) -> None:
        customers = [(await world.customer(f"c{number}"))[0] for number in range(5)]
        world.now = DUE
        body = {"ingest_aliases": ["x"]}
        for waiting in customers[:3]:
            await world.api.post(f"/v1/customers/{waiting}/setIngestAliases", body)
            body = {"ingest_aliases": [waiting[:8]]}
        await world.finalize()
        assert await world.pool.fetch(
            "SELECT status, count(*) FROM invoice GROUP BY status ORDER BY status"
        ) == [("DRAFT", 3), ("FINALIZED", 2)]
        await world.price()
        await world.finalize()
        assert {await world.status(customer) for customer in customers} == {"FINALIZED"}

    play(scenario)


def test_an_archived_customer_has_no_final_invoice(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        world.now = DUE
        await world.api.post("/v1/customers/archive", {"id": customer})
        await world.finalize()
        await world.price()
        await world.finalize()
        assert [each["status"] for each in await world.invoices(customer)] == ["VOID"]

    play(scenario)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE invoice SET document = '{}' WHERE id = $1",
        "UPDATE invoice SET status = 'DRAFT' WHERE id = $1",
        "UPDATE invoice SET status = 'VOID', ends_at = now() WHERE id = $1",
        "UPDATE invoice SET as_of = now() WHERE id = $1",
        "DELETE FROM invoice WHERE id = $1",
    ],
)
def test_the_database_refuses_to_change_a_final_invoice(play: Play, change: str) -> None:
    async def scenario(world: World) -> None:
        _, _, invoice = await world.finalized("acme", 5)
        with pytest.raises(asyncpg.RestrictViolationError, match="FINALIZED and never changes"):
            await world.pool.execute(change, invoice["id"])

    play(scenario)
