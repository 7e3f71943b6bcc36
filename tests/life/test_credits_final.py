"""Credits and what is final: taken once, in the order of invoices, given back by a void invoice;
and what late usage and replays make of them.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.projector import finals_postgres
from services.projector.drafts import StaleDraft
from services.projector.projection_postgres import PostgresProjection
from services.replay.diff_postgres import differences as replay_differences
from services.replay.drafts_postgres import price_generation
from services.replay.generations import Source
from services.replay.generations_postgres import PostgresGenerations
from services.runtime.json import decode_json
from tests.life.conftest import Scenario
from tests.life.granting import (
    DAY,
    another_plan,
    change_grant,
    differences,
    grant,
    overspent,
    paid,
    taken,
)
from tests.life.world import _LEVEL, DECEMBER, DUE, HOUR, NOVEMBER, Used, World

Play = Callable[[Scenario], None]


async def _two_of_november(world: World) -> tuple[str, list[UUID]]:
    """A customer with two drafts of 60 each up to the same end, and 100 to pay for them."""
    customer, _ = await world.customer("acme")
    await another_plan(world, customer)
    await grant(world, customer, 100)
    world.use("acme", 60, NOVEMBER)
    await world.count()
    await world.price()
    rows = await world.pool.fetch("SELECT id FROM invoice ORDER BY id")
    return customer, [row["id"] for row in rows]


async def _in_order(world: World) -> None:
    """The first of two is held by somebody when both are due, and its usage has not been priced."""
    customer, ids = await _two_of_november(world)
    await world.pool.execute("UPDATE invoice SET document = '{}' WHERE id = $1", ids[0])
    world.now = DUE + HOUR
    async with world.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM invoice WHERE id = $1 FOR UPDATE", ids[0])
        await world.finalize()
    await world.finalize()
    shares = {each.invoice_id: int(each.amount) for each in await taken(world, customer)}
    assert shares == {ids[0]: 60, ids[1]: 40}
    statuses = await world.pool.fetch("SELECT status FROM invoice WHERE id = ANY($1)", ids)
    assert {row["status"] for row in statuses} == {"FINALIZED"}


def test_an_invoice_waits_for_those_before_it(play: Play) -> None:
    play(_in_order)


def test_without_waiting_it_would_take_what_is_theirs(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test before."""

    async def at_once(_: asyncpg.Connection, drafts: Sequence[StaleDraft]) -> Sequence[StaleDraft]:
        return drafts

    monkeypatch.setattr(finals_postgres, "_in_turn", at_once)
    with pytest.raises(AssertionError):
        play(_in_order)


async def _more_than_it_was(world: World) -> None:
    """Usage that was counted and not priced makes a final invoice take more than its draft."""
    customer, _ = await world.customer("acme")
    await grant(world, customer, 100)
    world.now = DECEMBER + HOUR
    world.use("acme", 20, NOVEMBER)
    world.use("acme", 70, DECEMBER)
    await world.settle()
    world.use("acme", 50, NOVEMBER)
    await world.count()
    world.now = DUE + HOUR
    await world.pool.execute("DELETE FROM stale_draft")
    await world.finalize()
    await world.price()
    november, december = [await world.invoice(customer, at) for at in (NOVEMBER, DECEMBER)]
    assert (november["status"], paid(november)) == ("FINALIZED", {"gift": 70})
    assert paid(december) == {"gift": 30}


def test_what_a_final_invoice_takes_is_gone_for_later_drafts(play: Play) -> None:
    play(_more_than_it_was)


def test_without_marks_of_later_drafts_it_would_be_there_still(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test before."""

    async def nobody(*_: object) -> None:
        pass

    monkeypatch.setattr(finals_postgres, "mark_later", nobody)
    with pytest.raises(AssertionError, match="gift"):
        play(_more_than_it_was)


def test_two_finalizers_at_once_take_credits_once(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, ids = await _two_of_november(world)
        world.now = DUE + HOUR
        for _ in range(3):
            others = [world.another_finalizer() for _ in range(3)]
            await asyncio.gather(
                *(each.finalize_due() for each in others), world.pricer.price_stale()
            )
        shares = {each.invoice_id: int(each.amount) for each in await taken(world, customer)}
        assert shares == {ids[0]: 60, ids[1]: 40}
        assert await overspent(world) == []

    play(scenario)


def test_a_void_invoice_gives_back_and_is_made_again_from_what_is_left(play: Play) -> None:
    async def scenario(world: World) -> None:
        invoices = world.api.sdk.v1.invoices
        customer, _ = await world.customer("acme")
        await grant(world, customer, 100)
        world.use("acme", 70, NOVEMBER)
        world.now = DUE + HOUR
        world.use("acme", 80, DECEMBER)
        counted = await world.count()
        await world.settle()
        first = await world.invoice(customer)
        assert (first["status"], first["total"], paid(first)) == ("FINALIZED", 0, {"gift": 70})
        assert paid(await world.invoice(customer, DECEMBER)) == {"gift": 30}
        await invoices.void(id=first["id"])
        await world.settle()
        assert paid(await world.invoice(customer, DECEMBER)) == {"gift": 80}
        made = (await invoices.regenerate(id=first["id"])).data
        assert made is not None
        await world.settle()
        again = await world.invoice(customer)
        assert (again["id"], again["status"], paid(again)) == (made.id, "FINALIZED", {"gift": 70})
        assert paid(await world.invoice(customer, DECEMBER)) == {"gift": 30}
        assert await overspent(world) == []
        assert await differences(world, counted) == []
        # As nobody can by the API.
        await world.pool.execute("UPDATE credit_grant SET amount = 60")
        found = [each for each in await differences(world, counted) if "grant" in each.where]
        assert [(each.expected, each.found) for each in found] == [("at most 60", "70")]

    play(scenario)


def test_late_usage_is_compared_at_the_credits_that_there_were(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        made = await grant(world, customer, 100, expires_at=NOVEMBER + 10 * DAY)
        world.use("acme", 70, NOVEMBER)
        counted = await world.count()
        world.now = DUE + HOUR
        await world.settle()
        final = await world.invoice(customer)
        assert (final["total"], paid(final)) == (0, {"gift": 70})
        # Whatever becomes of grants: that is not usage, and what is final is final.
        await grant(world, customer, 1_000, "later")
        await change_grant(world, customer, made, "voided_at = now()")
        await world.settle()
        assert (await world.late(final["id"]))["charges"] == []
        assert await world.invoice(customer) == final
        world.use("acme", 50, NOVEMBER + DAY)
        world.use("acme", 7, NOVEMBER + 11 * DAY)
        counted += await world.count()
        await world.settle()
        late = await world.late(final["id"])
        assert late["subtotal"] == {"finalized": 70, "current": 127, "late": 57}
        assert late["total"] == {"finalized": 0, "current": 27, "late": 27}
        assert (await world.invoice(customer))["total"] == 0
        assert await differences(world, counted) == []

    play(scenario)


async def _replayed(world: World, counted: list[Used]) -> tuple[int, int]:
    """Another generation that found the same; returns the live one and it."""
    generations = PostgresGenerations(world.pool)
    live = await generations.live()
    generation = (await generations.create(Source.UNIQUE)).id
    flush = world.flush(0, counted, generation)
    await PostgresProjection(world.pool, generation).apply(flush)
    await world.pool.execute(_LEVEL, generation, live)
    return live, generation


def test_a_replay_takes_the_same_credits(play: Play) -> None:
    async def scenario(world: World) -> None:
        # Periods that have begun by the time of the database, whatever it is.
        world.now = datetime(2025, 10, 2, 1, tzinfo=UTC)
        first, second = datetime(2025, 9, 1, tzinfo=UTC), datetime(2025, 10, 1, tzinfo=UTC)
        customer, _ = await world.customer("acme", first)
        await another_plan(world, customer, first)
        await grant(world, customer, 250, effective_at=first + DAY)
        await world.customer("bolt", first)
        world.use("acme", 10, first)
        world.use("acme", 70, first + DAY)
        world.use("acme", 80, second)
        world.use("bolt", 80, second)
        counted = await world.count()
        await world.settle()
        world.use("acme", 5, first + DAY)  # late
        counted += await world.count()
        await world.settle()
        live, generation = await _replayed(world, counted)
        async with (
            world.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            assert await price_generation(connection, generation) == 6
            found = [each async for each in replay_differences(connection, live, generation)]
        # But for the late usage, at the credits that the invoice had.
        assert [each.status for each in found] == ["FINALIZED"] * 2
        documents = await world.pool.fetch(
            "SELECT d.document, i.document AS live FROM generation_draft d JOIN invoice i"
            " ON i.customer_plan_id = d.customer_plan_id AND i.starts_at = d.starts_at"
            " WHERE d.customer_id = $1 ORDER BY i.ends_at, i.id",
            UUID(customer),
        )
        shares = [_shares(row) for row in documents]
        assert shares == [([75], [70]), ([75], [70]), ([80], [80]), ([30], [30])]

    play(scenario)


def _shares(row: asyncpg.Record) -> tuple[list[int], list[int]]:
    """What an invoice takes, replayed and live."""
    documents: list[dict[str, Any]] = [decode_json(row["document"]), decode_json(row["live"])]
    replayed, live = ([-a["total"] for a in each["invoice_adjustments"]] for each in documents)
    return replayed, live
