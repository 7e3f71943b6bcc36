"""What the person at the terminal reads: one line for each thing that happened.

Never prints a secret, and never more than a line for what goes well.
"""

import contextlib
import sys
import time
from collections.abc import Callable

# Announce(name, text): `name` is the server or stage that it is about.
Announce = Callable[[str, str], None]


def to_stdout(name: str, text: str) -> None:
    """Print one line about something, at once."""
    say(f"  {name:<10} {text}")


def say(line: str) -> None:
    """Print one line, at once. The terminal may be gone; all must still be stopped in order."""
    with contextlib.suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def silent(_name: str, _text: str) -> None:
    """Print nothing."""


class Stopwatch:
    """Seconds since it was made, for progress lines and for restarts. Not the time of day."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._start_s

    def __str__(self) -> str:
        return f"{self.elapsed_s:.1f} s"
