"""Pricing that takes longer than PostgreSQL lets a transaction say nothing: the process is at work,
so it keeps what it holds; else it would end, begin again, and never get on.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import asyncpg
import pytest

from services.domain.pricing.usage import PeriodUsage
from services.projector import beside, documents_postgres, pricer, turns_postgres
from services.projector.__main__ import SESSION
from services.projector.drafts import DraftCredits, PricedDraft, StaleDraft
from services.projector.drafts_postgres import PostgresDrafts
from services.projector.pricer import Pricer
from services.projector.pricing import price_all
from services.runtime.postgres import connect_pool
from tests.life.conftest import Scenario
from tests.life.world import DUE, HOUR, NOVEMBER, World

Play = Callable[[Scenario], None]
_IDLE = "idle_in_transaction_session_timeout"


def slowly(
    drafts: Sequence[StaleDraft], usage: Mapping[UUID, PeriodUsage], credits_left: DraftCredits
) -> list[PricedDraft]:
    """As of millions of groups."""
    time.sleep(0.8)
    return price_all(drafts, usage, credits_left)


def impatient(url: str, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """Drafts and final invoices of a projector whose times are a hundredth of what they are."""
    assert SESSION[_IDLE] == "20s"
    monkeypatch.setattr(beside, "LINES_MAX", -1)
    monkeypatch.setattr(pricer, "price_all", slowly)
    monkeypatch.setattr(documents_postgres, "price_all", slowly)
    monkeypatch.setattr(turns_postgres, "SPEAK_EVERY_S", turns_postgres.SPEAK_EVERY_S / 100)

    async def scenario(world: World) -> None:
        customer, _ = await world.customer("acme")
        world.use("acme", 70, NOVEMBER)
        await world.count()
        slow = await connect_pool(url, size_max=4, settings={**SESSION, _IDLE: "200ms"})
        everything, world.pool = world.pool, slow
        try:
            await Pricer(PostgresDrafts(slow), lambda: world.now).price_stale()
            assert (await world.invoice(customer))["total"] == 70
            world.now = DUE + HOUR
            await world.another_finalizer().finalize_due()
            assert await world.status(customer) == "FINALIZED"
        finally:
            world.pool = everything
            slow.terminate()

    return scenario


def test_long_pricing_keeps_its_locks(
    play: Play, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(impatient(database_url, monkeypatch))


def test_one_that_stands_still_loses_them(
    play: Play, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control of the test before: it says nothing, as a paused process does."""
    scenario = impatient(database_url, monkeypatch)
    monkeypatch.setattr(turns_postgres, "SPEAK_EVERY_S", 60)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
        play(scenario)
