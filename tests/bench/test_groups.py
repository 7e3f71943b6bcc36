"""A part that fails or hangs leaves the others their figures; what was miscounted leaves none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.bench import groups
from tests.bench.results import Results
from tests.bench.scale import QUICK
from tests.bench.stack import BenchError

Measure = Callable[[], Coroutine[Any, Any, dict[str, Any]]]


class FakeStacks:
    """Stacks that only verify, and parts on them."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, miscounts: frozenset[int], starts: bool = True
    ) -> None:
        self.started = 0
        self._starts = starts
        self._miscounts = miscounts  # numbers of stacks
        self.parts: dict[str, Measure] = {}
        monkeypatch.setattr(groups, "fresh_stack", self._fresh_stack)
        monkeypatch.setattr(groups, "_on_one_stack", self._on_one_stack)

    @asynccontextmanager
    async def _fresh_stack(self) -> AsyncIterator[Any]:
        if not self._starts:
            raise BenchError("tollgate up did not start")
        self.started += 1
        yield self

    async def verify(self, *, deep: bool) -> str:
        """As a stack's."""
        if self.started in self._miscounts:
            raise BenchError(f"does not add up (deep: {deep})")
        return "adds up"

    async def _on_one_stack(
        self, _stack: object, _scale: object, wanted: list[str], tried: list[str], results: Results
    ) -> None:
        for name in wanted:
            tried.append(name)
            if not await groups._goes_on(name, self.parts[name], results):
                return


def answers(**figures: float) -> Measure:
    """A part that works."""

    async def measure() -> dict[str, Any]:
        return {"figures": figures}

    return measure


async def fails() -> dict[str, Any]:
    """A part that does not."""
    raise OSError("no")


async def hangs() -> dict[str, Any]:
    """A part that takes far too long."""
    await asyncio.sleep(5)
    return {}


def run_main(stacks: FakeStacks) -> Results:
    results = Results()
    asyncio.run(groups._main(QUICK, list(stacks.parts), results))
    return results


@pytest.mark.parametrize("broken", [fails, hangs])
def test_the_parts_around_one_that_fails_have_figures(
    monkeypatch: pytest.MonkeyPatch, broken: Measure
) -> None:
    monkeypatch.setattr(groups, "PART_S_MAX", 0.05)
    stacks = FakeStacks(monkeypatch, miscounts=frozenset())
    stacks.parts = {
        "end_to_end": answers(end_to_end_per_s=1.0),
        "idle": broken,
        "single": answers(single_per_s=2.0),
    }
    results = run_main(stacks)
    assert list(results.errors) == ["idle"]
    figures = {key: value for key, value in results.figures().items() if value is not None}
    assert figures == {"end_to_end_per_s": 1.0, "single_per_s": 2.0}
    assert stacks.started == 2  # nobody knows what the one that failed left behind
    assert set(results.took_s) >= {"end_to_end", "idle", "single", "verify main", "verify main 2"}


def test_only_the_stack_that_miscounted_loses_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = FakeStacks(monkeypatch, miscounts=frozenset({1}))
    stacks.parts = {
        "end_to_end": answers(end_to_end_per_s=1.0),
        "idle": fails,
        "single": answers(single_per_s=2.0),
    }
    results = run_main(stacks)
    figures = {key: value for key, value in results.figures().items() if value is not None}
    assert figures == {"single_per_s": 2.0}
    assert "does not add up" in results.errors["the stack of end_to_end, idle"]


def test_stacks_that_do_not_start_are_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks = FakeStacks(monkeypatch, miscounts=frozenset(), starts=False)
    stacks.parts = {"idle": answers(), "single": answers()}
    assert "did not start" in run_main(stacks).errors["the stack of idle, single"]
