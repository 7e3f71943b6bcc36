"""How long to wait before a process that died is started again. Pure: it is told the times."""

from dataclasses import dataclass

FIRST_DELAY_S = 0.2
# Longer would only keep a person waiting who has just repaired the cause.
DELAY_S_MAX = 5.0
# A process that ran this long had started well: its death is a new trouble, not the old one.
ALIVE_S_RESET = 10.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Deaths in a row, each soon after a start."""

    deaths: int = 0

    def after_death(self, alive_s: float) -> "Backoff":
        """The state after a process died that had been alive for so long."""
        return Backoff(1 if alive_s >= ALIVE_S_RESET else self.deaths + 1)

    @property
    def delay_s(self) -> float:
        """Wait before the next start: 0.2 s after the first death, doubling up to 5 s."""
        if self.deaths == 0:
            return 0.0
        # The exponent is bounded so that a thousand deaths do not overflow.
        return min(DELAY_S_MAX, FIRST_DELAY_S * 2.0 ** min(self.deaths - 1, 10))
