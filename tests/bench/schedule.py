"""When requests are to be sent. Open loop: at times drawn beforehand, whatever the answers do, so
that a server that stalls finds the requests of the stall waiting, and their wait is counted. Closed
loop: as soon as a connection is free. Pure: the time is handed in.
"""

import random
from dataclasses import dataclass, field
from typing import Protocol


class Schedule(Protocol):
    """Which request is next, and when."""

    def take(self, now_s: float) -> float | None:
        """When the next request was to be sent, if that is by now; it is then taken."""
        ...

    def wait_s(self, now_s: float) -> float | None:
        """How long until there may be one to take; None when no more come."""
        ...


@dataclass(slots=True)
class OpenLoop:
    """Independent producers: `count` arrivals at a mean rate, with exponential gaps."""

    per_s: float
    count: int
    seed: int = 1
    _next_s: float = 0.0
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def take(self, now_s: float) -> float | None:
        """See Schedule."""
        due = self._next_s
        if self.count == 0 or due > now_s:
            return None
        self.count -= 1
        self._next_s = due + self._chance.expovariate(self.per_s)
        return due

    def wait_s(self, now_s: float) -> float | None:
        """See Schedule."""
        return max(0.0, self._next_s - now_s) if self.count else None


@dataclass(slots=True)
class ClosedLoop:
    """As fast as answers come: for so long, or so many."""

    seconds: float | None = None
    count: int | None = None

    def take(self, now_s: float) -> float | None:
        """See Schedule."""
        if self._over(now_s):
            return None
        if self.count is not None:
            self.count -= 1
        return now_s

    def wait_s(self, now_s: float) -> float | None:
        """See Schedule."""
        return None if self._over(now_s) else 0.0

    def _over(self, now_s: float) -> bool:
        return self.count == 0 or (self.seconds is not None and now_s >= self.seconds)
