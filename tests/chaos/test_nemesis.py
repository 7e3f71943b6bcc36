"""The harness itself is honest: what it says it did was done, and what a client saw is not lost."""

import asyncio
import random
from pathlib import Path
from typing import Any, cast

import pytest

from tests.chaos import faults, nemesis, recovery
from tests.chaos.faults import Fault
from tests.chaos.nemesis import Nemesis
from tests.chaos.world import NotDone, World
from tests.integration.client import Tollgate


class Quiet:
    """A world with nothing to restore."""

    def __init__(self, failpoints: Path) -> None:
        self.failpoints = failpoints

    def restore_order(self) -> None:
        """Nothing to do."""


def unlucky(times: int) -> Fault:
    """Cannot be done so many times."""
    left = [times]

    async def do(_world: World, _choice: random.Random) -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise NotDone("Redis is away")
        return "at last"

    return Fault("flush", "redis", do)


def nemesis_with(fault: Fault, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Nemesis:
    monkeypatch.setattr(nemesis, "every_fault", lambda: [fault])
    monkeypatch.setattr(nemesis, "_PAUSE_S", (0.0, 0.0))
    monkeypatch.setattr(nemesis, "_TRY_AGAIN_S", 0.0)
    return Nemesis(cast(World, Quiet(folder)), random.Random(1), None)


def test_a_fault_that_could_not_be_done_is_tried_until_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nemesis_with(unlucky(3), tmp_path, monkeypatch)
    asyncio.run(made.run())
    assert [done.note for done in made.done] == ["at last"]


def test_a_fault_that_never_can_be_done_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nemesis_with(unlucky(1_000_000), tmp_path, monkeypatch)
    monkeypatch.setattr(nemesis, "_DONE_S_MAX", 0.0)
    with pytest.raises(AssertionError, match="flush redis could not be done: Redis is away"):
        asyncio.run(made.run())
    assert made.done == []


def test_a_second_worker_that_was_never_ready_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dies:
        def start_second(self, *_: object) -> None:
            pass

        def end_second(self, *_: object) -> str:
            return "had ended with 1"

    monkeypatch.setattr(faults, "_READY_S_MAX", 0.05)
    for kind in ("second worker", "twin"):
        fault = next(fault for fault in faults.every_fault() if fault.kind == kind)

        async def once(fault: Fault = fault) -> str:
            return await fault.do(cast(World, Dies()), random.Random(1))

        with pytest.raises(NotDone, match="had ended with 1"):
            asyncio.run(once())


def test_what_a_client_was_told_wrongly_fails_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class WrongLoad:
        def __init__(self, *_: object) -> None:
            pass

        async def run(self, _stopping: asyncio.Event) -> None:
            raise AssertionError("500: no such answer")

    class Flowing:
        def __init__(self, _tollgate: Tollgate) -> None:
            self.counted_until = float("inf")

        async def keep(self) -> None:
            await asyncio.Event().wait()

    class NoTollgate:
        @property
        def run(self) -> dict[str, str]:
            return {"api_url": "", "token": ""}

        def billed(self, **_: Any) -> None:
            pass

    monkeypatch.setattr(recovery, "Load", WrongLoad)
    monkeypatch.setattr(recovery, "Progress", Flowing)

    async def measure() -> None:
        async with recovery.loaded(cast(Tollgate, NoTollgate()), 1):
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match="500"):
        asyncio.run(measure())
