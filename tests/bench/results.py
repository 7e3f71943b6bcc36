"""What was measured, collected: figures, raw numbers, errors, what verify said, durations."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tests.bench.figures import TARGETS, shown

# The key under which a run says what others took of the machine.
OTHERS = "cores_busy_with_other_work"


class Results:
    """Filled by the parts; read once at the end."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, Any]] = {}
        self.errors: dict[str, str] = {}
        self.verified: dict[str, str] = {}
        self.tables: dict[str, tuple[str, str]] = {}  # by part: a heading, and its lines
        self.servers: dict[str, str] = {}
        self.took_s: dict[str, float] = {}  # by part, and by what verify was asked about
        self._began_s = time.monotonic()

    def add(self, name: str, measured: dict[str, Any]) -> None:
        """What a part measured; its key `figures` may hold some of TARGETS."""
        unknown = set(measured.get("figures", {})) - set(TARGETS)
        assert not unknown, f"{name} has figures that are none: {unknown}"
        self.parts[name] = measured
        figures = measured.get("figures", {}).items()
        told = ", ".join(f"{key} {shown(value)}" for key, value in figures)
        at_s = time.monotonic() - self._began_s
        print(f"{at_s:5.0f} s  {name}: {told or 'measured'}", flush=True)

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Adds what happens within to what `name` took."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.took_s[name] = self.took_s.get(name, 0.0) + time.monotonic() - began

    def durations(self) -> dict[str, float]:
        """What each part took, and what was left: stacks that start, warm up and stop."""
        rest = time.monotonic() - self._began_s - sum(self.took_s.values())
        return {**self.took_s, "stacks, warm-up": rest}

    def end_to_end_per_s(self) -> float | None:
        """What the replay is compared with, once it was measured in this run."""
        return self.figures()["end_to_end_per_s"]

    def failed(self, name: str, error: BaseException) -> None:
        """A part could not be measured."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self.errors[name] = f"{type(error).__name__}: {error}"

    def discard(self, parts: Sequence[str]) -> None:
        """The stack of these parts miscounted: none of what it measured is a figure."""
        for name in parts:
            self.tables.pop(name, None)
            if name in self.parts:
                self.parts[name]["figures"] = {}

    def others_cores(self) -> float:
        """The most that other work on the machine took during any run."""
        return max((cores for cores in _found(self.parts, OTHERS)), default=0.0)

    def figures(self) -> dict[str, float | None]:
        """Every figure, None for what was not measured."""
        found: dict[str, float | None] = dict.fromkeys(TARGETS)
        for measured in self.parts.values():
            found.update(measured.get("figures", {}))
        return found


def _found(held: object, key: str) -> Iterator[float]:
    if isinstance(held, dict):
        for name, value in held.items():
            if name == key:
                yield float(value)
            else:
                yield from _found(value, key)
    elif isinstance(held, list):
        for value in held:
            yield from _found(value, key)
