"""Credit grants through the official client as their customer's invoices live: what drafts take is
pending, what final invoices took stays, and the ledger adds up at every step.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from metronome import BadRequestError
from metronome.types.v1 import CreditGrantListEntriesResponse, CreditGrantListResponse

from tests.life.conftest import Scenario
from tests.life.world import DECEMBER, DUE, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]
Ledger = CreditGrantListEntriesResponse
USD = "2714e483-4ff1-48e4-9e25-ac732e8f24f2"
JANUARY = datetime.fromisoformat("2027-01-01T00:00:00Z")
DAY = timedelta(days=1)


async def granted(world: World, customer: str, amount: int, name: str = "welcome") -> str:
    """A grant from November until February."""
    made = await world.api.sdk.v1.credit_grants.create(
        customer_id=customer,
        name=name,
        grant_amount={"amount": amount, "credit_type_id": USD},
        paid_amount={"amount": 0, "credit_type_id": USD},
        priority=1,
        effective_at="2026-11-01T00:00:00Z",
        expires_at="2027-02-01T00:00:00Z",
    )
    return made.data.id


async def one_grant(world: World, customer: str) -> CreditGrantListResponse:
    listing = world.api.sdk.v1.credit_grants.list(customer_ids=[customer])
    [found] = [each async for each in listing]
    return found


async def ledger(world: World, customer: str, **query: object) -> Ledger:
    """The customer's only one; it adds up."""
    listing = world.api.sdk.v1.credit_grants.list_entries(
        customer_ids=[customer],
        **query,  # type: ignore[arg-type]  # as users write
    )
    [found] = [each async for each in listing]
    [of_unit] = found.ledgers
    posted = sum(each.amount for each in of_unit.entries)
    pending = sum(each.amount for each in of_unit.pending_entries)
    start, end = of_unit.starting_balance, of_unit.ending_balance
    assert start.excluding_pending + posted == end.excluding_pending
    assert start.including_pending + posted + pending == end.including_pending
    return found


def test_what_a_draft_takes_is_pending_and_then_final(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        grant = await granted(world, customer, 100)
        world.use("acme", 30, NOVEMBER + HOUR)
        await world.settle()
        draft = await world.invoice(customer)
        assert (draft["subtotal"], draft["total"]) == (30, 0)
        assert draft["invoice_adjustments"] == [
            {
                "name": "welcome",
                "total": -30,
                "credit_type": {"id": USD, "name": "USD (cents)"},
                "credit_grant_id": grant,
            }
        ]
        shown = await one_grant(world, customer)
        assert (shown.balance.excluding_pending, shown.balance.including_pending) == (100, 70)
        assert (shown.balance.effective_at, shown.deductions) == (DECEMBER, [])
        [pending] = shown.pending_deductions
        assert (pending.amount, pending.running_balance, pending.invoice_id) == (
            -30, 70, draft["id"],
        )  # fmt: skip
        assert (pending.effective_at, pending.created_by) == (DECEMBER, "Tollgate")

        world.now = DUE + HOUR
        world.use("acme", 50, DECEMBER + HOUR)
        await world.settle()
        assert await world.status(customer) == "FINALIZED"
        shown = await one_grant(world, customer)
        assert (shown.balance.excluding_pending, shown.balance.including_pending) == (70, 20)
        assert shown.balance.effective_at == JANUARY
        assert [each.amount for each in shown.deductions] == [-30]
        assert [each.amount for each in shown.pending_deductions] == [-50]

        [found] = (await ledger(world, customer)).ledgers
        assert [(e.amount, e.running_balance, e.created_by) for e in found.entries] == [
            (100, 100, "tester"),
            (-30, 70, "Tollgate"),
        ]
        assert [(e.amount, e.running_balance) for e in found.pending_entries] == [(-50, 20)]
        assert found.starting_balance.effective_at == NOVEMBER
        assert (found.starting_balance.including_pending, found.ending_balance.effective_at) == (
            0, JANUARY,
        )  # fmt: skip

    play(scenario)


def test_a_grant_is_for_what_was_used_before_it_too_and_reads_wait_for_it(play: Play) -> None:
    async def scenario(world: World) -> None:
        grants = world.api.sdk.v1.credit_grants
        customer, _ = await world.customer("acme")
        world.use("acme", 30, NOVEMBER + HOUR)
        await world.settle()
        assert (await world.invoice(customer))["total"] == 30

        async def price_soon() -> None:
            await asyncio.sleep(0.2)
            await world.price()

        async def by_customer() -> float:
            return (await one_grant(world, customer)).balance.including_pending

        async def by_id() -> float:
            [found] = [each async for each in grants.list(credit_grant_ids=[grant])]
            return found.balance.including_pending

        async def by_ledger() -> float:
            [found] = (await ledger(world, customer)).ledgers
            return found.ending_balance.including_pending

        for read in (by_customer, by_id, by_ledger):
            grant = await granted(world, customer, 100)
            left, _ = await asyncio.gather(read(), price_soon())
            assert left == 70, read.__name__
            await grants.void(id=grant)
            await world.price()

    play(scenario)


def test_windows_of_a_ledger_follow_on(play: Play) -> None:
    async def scenario(world: World) -> None:
        customer, _, _ = await world.finalized("acme", 30)
        await granted(world, customer, 100)
        # The final invoice is older than the grant: it took nothing.
        assert (await one_grant(world, customer)).deductions == []
        invoice = await world.invoice(customer)
        await world.api.post("/v1/invoices/void", {"id": invoice["id"]})
        await world.api.post("/v1/invoices/regenerate", {"id": invoice["id"]})
        await world.settle()
        again = await world.invoice(customer)
        assert (again["status"], again["total"]) == ("FINALIZED", 0)
        [november] = (
            await ledger(world, customer, starting_on=NOVEMBER, ending_before=DECEMBER)
        ).ledgers
        [since] = (await ledger(world, customer, starting_on=DECEMBER, sort="desc")).ledgers
        assert [e.amount for e in november.entries] == [100]
        assert [(e.amount, e.invoice_id) for e in since.entries] == [(-30, again["id"])]
        assert november.ending_balance.to_dict() == since.starting_balance.to_dict()
        [both] = (await ledger(world, customer, sort="desc")).ledgers
        assert [e.amount for e in both.entries] == [-30, 100]

    play(scenario)


def test_an_edit_changes_drafts_and_never_what_is_final(play: Play) -> None:
    async def scenario(world: World) -> None:
        grants = world.api.sdk.v1.credit_grants
        customer, _ = await world.customer("acme")
        grant = await granted(world, customer, 100)
        world.use("acme", 30, NOVEMBER + HOUR)
        await world.settle()
        world.now = DUE + HOUR
        world.use("acme", 50, DECEMBER + 2 * DAY)
        await world.settle()
        final = await world.invoice(customer)

        for early in ("2026-11-30T23:00:00Z", "2026-11-02T00:00:00Z"):
            with pytest.raises(BadRequestError, match="expires_at: is too early: invoice") as why:
                await grants.edit(id=grant, expires_at=early)
            assert final["id"] in str(why.value)
        with pytest.raises(BadRequestError, match="expires_at: must be later than effective_at"):
            await grants.edit(id=grant, expires_at="2026-11-01T00:00:00Z")

        await grants.edit(id=grant, expires_at=DECEMBER + DAY, name="bye", credit_grant_type="t")
        await world.settle()
        assert (await world.invoice(customer, DECEMBER))["total"] == 50
        shown = await one_grant(world, customer)
        assert (shown.name, shown.credit_grant_type) == ("bye", "t")
        assert (shown.balance.excluding_pending, shown.balance.including_pending) == (0, 0)
        assert [(e.amount, e.reason) for e in shown.deductions] == [
            (-30, "Automated invoice deduction"),
            (-70, "Credit expiration"),
        ]
        [found] = (await ledger(world, customer)).ledgers
        assert [e.running_balance for e in found.entries] == [100, 70, 0]
        # Longer again: the draft has it back, under the new name.
        await grants.edit(id=grant, expires_at=JANUARY)
        await world.settle()
        [adjustment] = (await world.invoice(customer, DECEMBER))["invoice_adjustments"]
        assert (adjustment["name"], adjustment["total"]) == ("bye", -50)
        assert await world.invoice(customer) == final

    play(scenario)


def test_a_void_grant_gives_nothing_to_drafts_and_leaves_what_is_final(play: Play) -> None:
    async def scenario(world: World) -> None:
        grants = world.api.sdk.v1.credit_grants
        customer, _ = await world.customer("acme")
        grant = await granted(world, customer, 100)
        world.use("acme", 30, NOVEMBER + HOUR)
        await world.settle()
        world.now = DUE + HOUR
        world.use("acme", 50, DECEMBER + HOUR)
        await world.settle()
        final = await world.invoice(customer)
        assert (await world.invoice(customer, DECEMBER))["total"] == 0
        await grants.void(id=grant)
        await world.settle()
        draft = await world.invoice(customer, DECEMBER)
        assert (draft["total"], draft["invoice_adjustments"]) == (50, [])
        assert await world.invoice(customer) == final
        assert [each async for each in grants.list(customer_ids=[customer])] == []
        assert [each async for each in grants.list_entries(customer_ids=[customer])] == []

    play(scenario)


def test_one_grant_less_moves_what_the_next_gives_to_later_drafts(play: Play) -> None:
    """November's draft, in its grace, takes more of the second grant once the first is void; so
    December's has less of it, although the first never paid for December."""

    async def scenario(world: World) -> None:
        grants = world.api.sdk.v1.credit_grants
        customer, _ = await world.customer("acme")
        first = await granted(world, customer, 30, name="first")
        await grants.edit(id=first, expires_at=DECEMBER)
        await granted(world, customer, 100, name="second")
        world.use("acme", 80, NOVEMBER + HOUR)
        await world.settle()
        world.now = DECEMBER + HOUR
        world.use("acme", 40, DECEMBER + HOUR)
        await world.settle()
        before = await world.invoice(customer, DECEMBER)
        assert (before["status"], before["total"]) == ("DRAFT", 0)
        await grants.void(id=first)
        await world.settle()
        november, december = await world.invoices(customer)
        assert [(a["name"], a["total"]) for a in november["invoice_adjustments"]] == [
            ("second", -80)
        ]
        assert (december["invoice_adjustments"][0]["total"], december["total"]) == (-20, 20)
        [found] = (await ledger(world, customer)).ledgers
        assert [e.amount for e in found.pending_entries] == [-80, -20]
        assert found.ending_balance.including_pending == 0

    play(scenario)
