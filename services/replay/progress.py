"""The progress of a count, on standard error: a bar on a terminal, a line now and then elsewhere.
Says nothing when there is nothing to count.
"""

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from services.projector.projection import Position

_BAR_WIDTH = 40
_TERMINAL_EVERY_S = 0.1
_LINES_EVERY_S = 5.0


class Progress:
    """Shows how many raw offsets are counted, of those the live generation has counted."""

    def __init__(self, out: TextIO = sys.stderr) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._goals: dict[int, int] = {}
        self._at: dict[int, int] = {}
        self._started_at = self._shown_at = time.monotonic()
        self._began_with = 0
        self._open = False

    def aim(self, live: Mapping[int, Position], own: Mapping[int, Position]) -> None:
        """What is to be reached, and what is there."""
        self._goals = {partition: position.next_raw for partition, position in live.items()}
        self._at = {partition: position.next_raw for partition, position in own.items()}
        self._began_with = self._done()
        self._started_at = time.monotonic()

    def moved(self, partition: int, next_raw: int) -> None:
        """A partition is counted up to `next_raw`."""
        self._at[partition] = next_raw
        self._goals[partition] = max(next_raw, self._goals.get(partition, 0))
        wait_s = _TERMINAL_EVERY_S if self._terminal else _LINES_EVERY_S
        if time.monotonic() - self._shown_at >= wait_s:
            self._show()

    def close(self) -> None:
        """Show the end, if a beginning was shown."""
        if self._open:
            self._show()
            if self._terminal:
                self._out.write("\n")
            self._open = False

    def _done(self) -> int:
        return sum(min(self._at.get(p, 0), goal) for p, goal in self._goals.items())

    def _show(self) -> None:
        self._open = True
        self._shown_at = time.monotonic()
        done, goal = self._done(), max(sum(self._goals.values()), 1)
        elapsed_ms = max(int((self._shown_at - self._started_at) * 1000), 1)
        rate = (done - self._began_with) * 1000 // elapsed_ms
        words = f"{done:,} of {goal:,} offsets, {rate:,} a second"
        if self._terminal:
            filled = _BAR_WIDTH * done // goal
            bar = "#" * filled + "." * (_BAR_WIDTH - filled)
            self._out.write(f"\r[{bar}] {100 * done // goal:3d} %  {words} ")
        else:
            self._out.write(f"{100 * done // goal} %: {words}\n")
        self._out.flush()
