"""What was measured, collected: figures, raw numbers, errors, what verify said."""

import time
from collections.abc import Iterator, Sequence
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
        self.tables: dict[str, str] = {}
        self.servers: dict[str, str] = {}
        self._last_s = time.monotonic()

    def add(self, name: str, measured: dict[str, Any]) -> None:
        """What a part measured; its key `figures` may hold some of TARGETS."""
        unknown = set(measured.get("figures", {})) - set(TARGETS)
        assert not unknown, f"{name} has figures that are none: {unknown}"
        now = time.monotonic()
        self.parts[name] = {**measured, "took_s": now - self._last_s}
        self._last_s = now
        figures = measured.get("figures", {}).items()
        told = ", ".join(f"{key} {shown(value)}" for key, value in figures)
        print(f"{name} ({self.parts[name]['took_s']:.0f} s): {told}", flush=True)

    def end_to_end_per_s(self) -> float | None:
        """What the replay is compared with, once it was measured in this run."""
        return self.figures()["end_to_end_per_s"]

    def failed(self, name: str, error: BaseException) -> None:
        """A part could not be measured."""
        self.errors[name] = f"{type(error).__name__}: {error}"

    def discard(self, parts: Sequence[str]) -> None:
        """The stack of these parts miscounted: none of what it measured is a figure."""
        for name in parts:
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
