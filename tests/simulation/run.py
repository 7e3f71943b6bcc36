"""Many seeds on several processes, and what they came to in one line a fault."""

import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.profile import FAULTS
from tests.simulation.simulation import Outcome, simulate

# Seeds a process runs before it reports.
CHUNK = 100
# Lines of the trace that are shown of a failed seed.
TRACE_SHOWN = 60


@dataclass
class Tally:
    """Sums over seeds, and every failure."""

    seeds: int = 0
    steps: int = 0
    events: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        """Take in what another process came to."""
        self.seeds += other.seeds
        self.steps += other.steps
        self.events += other.events
        self.injected += other.injected
        self.failed += other.failed

    def __str__(self) -> str:
        lines = [
            f"{self.seeds} seeds, {self.steps} steps, {self.events} events posted,"
            f" {sum(self.injected.values())} faults, {len(self.failed)} failed"
        ]
        names = sorted({*FAULTS, *self.injected})
        lines += [f"  {name.replace('_', ' '):24}{self.injected[name]:>10}" for name in names]
        return "\n".join(lines)


def tally_of(seeds: Iterable[int]) -> Tally:
    """Run these seeds here."""
    tally = Tally()
    for seed in seeds:
        outcome = simulate(seed)
        tally.seeds += 1
        tally.steps += outcome.steps
        tally.events += outcome.events
        tally.injected += outcome.injected
        if outcome.failure is not None:
            tally.failed.append(outcome)
    return tally


def run_many(seeds: range, processes: int) -> Tally:
    """Run seeds on several processes."""
    if processes == 1:
        return tally_of(seeds)
    chunks = [seeds[at : at + CHUNK] for at in range(0, len(seeds), CHUNK)]
    total = Tally()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for tally in pool.map(tally_of, chunks):
            total.add(tally)
    return total


def processes_here() -> int:
    """As many as this machine has cores, two at most: others want to work, too."""
    return min(2, os.cpu_count() or 1)


def explained(outcome: Outcome) -> str:
    """A failed seed: what went wrong, the last decisions, how to see it again."""
    shown = outcome.trace[-TRACE_SHOWN:]
    return "\n".join(
        [
            f"seed {outcome.seed}: {outcome.failure}",
            f"the last {len(shown)} of {len(outcome.trace)} decisions:",
            *(f"  {line}" for line in shown),
            f"again: make simulate SEED={outcome.seed}",
        ]
    )
