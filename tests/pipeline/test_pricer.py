"""When pricing runs: at once when it is woken, and with a rest after every pass that priced."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.domain.pricing.usage import PeriodUsage
from services.projector import pricer
from services.projector.drafts import DraftBatch, DraftCredits, PricedDraft, StaleDraft
from services.projector.pricer import Pricer, rest_after

NOW = datetime(2026, 11, 28, tzinfo=UTC)


@dataclass
class Batch:
    """Marks that nobody has a draft for."""

    taken: int
    drafts: Sequence[StaleDraft] = ()

    async def quantities(self) -> Mapping[UUID, PeriodUsage]:
        """Never asked for."""
        raise AssertionError

    async def credits(self, quantities: Mapping[UUID, PeriodUsage]) -> DraftCredits:
        """Never asked for."""
        raise AssertionError

    def held(self) -> AbstractAsyncContextManager[None]:
        """Never asked for."""
        raise AssertionError

    async def write(self, priced: Sequence[PricedDraft], priced_at: datetime) -> None:
        """Never asked for."""
        raise AssertionError


@dataclass
class Marks:
    """A work list in memory."""

    waiting: int = 0
    others: bool = False  # somebody else is at work, and does not get on
    asked_alone: list[bool] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)

    @asynccontextmanager
    async def take(
        self, count_max: int, now: datetime, *, alone: bool = False
    ) -> AsyncIterator[DraftBatch | None]:
        """See Drafts."""
        self.asked_alone.append(alone)
        if alone and self.others:
            yield None
            return
        taken = min(count_max, self.waiting)
        yield Batch(taken)
        self.waiting -= taken
        self.passes.append(taken)

    async def open_periods(self, now: datetime) -> int:
        """See Drafts."""
        return 0


def test_the_rest_is_a_multiple_of_the_pass_and_bounded() -> None:
    assert rest_after(0) == 0
    assert rest_after(0.1) == pytest.approx(0.05)
    assert rest_after(60) == 0.25


def test_it_rests_after_every_pass_that_priced_and_after_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[float] = []

    def no_rest(pass_s: float) -> float:
        rests.append(pass_s)
        return 0

    monkeypatch.setattr(pricer, "rest_after", no_rest)
    monkeypatch.setattr(pricer, "IDLE_WAIT_S", 600)

    async def scenario() -> None:
        marks = Marks(2 * pricer.MARKS_MAX + 1)
        subject = Pricer(marks, lambda: NOW)
        running = asyncio.create_task(subject.run())
        while len(marks.passes) < 4:
            await asyncio.sleep(0)
        assert marks.passes == [pricer.MARKS_MAX, pricer.MARKS_MAX, 1, 0]
        assert len(rests) == 3
        marks.waiting = 7
        subject.wake()
        while marks.waiting:
            await asyncio.sleep(0)
        assert marks.passes[4:] == [7]
        running.cancel()

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def test_it_leaves_the_pricing_to_another_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricer, "TURN_LOOK_S", 0.01)
    monkeypatch.setattr(pricer, "TURN_WAIT_S_MAX", 0.05)
    monkeypatch.setattr(pricer, "IDLE_WAIT_S", 600)
    marks = Marks(7, others=True)

    async def scenario() -> None:
        running = asyncio.create_task(Pricer(marks, lambda: NOW).run())
        async with asyncio.timeout(30):
            while marks.waiting:
                await asyncio.sleep(0)
        running.cancel()

    asyncio.run(scenario())
    assert marks.passes == [7]
    *turns_looked_for, last = marks.asked_alone
    assert 2 <= len(turns_looked_for) <= 5
    assert all(turns_looked_for)
    assert not last


def test_with_more_than_a_pass_to_price_it_does_not_wait_for_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pricer, "IDLE_WAIT_S", 0)
    marks = Marks(2 * pricer.MARKS_MAX + 1)

    async def scenario() -> None:
        running = asyncio.create_task(Pricer(marks, lambda: NOW).run())
        async with asyncio.timeout(30):
            while len(marks.passes) < 4:
                await asyncio.sleep(0)
        running.cancel()

    asyncio.run(scenario())
    assert marks.passes[:4] == [pricer.MARKS_MAX, pricer.MARKS_MAX, 1, 0]
    assert marks.asked_alone[:4] == [True, False, False, True]
