"""Kafka itself loses what it had acknowledged between the stages: the end of a partition of
usage.unique or usage.rated, or all of it. It cannot be made good from memory, but it must never be
silent: the partition stops with an error that names it, and the others go on exactly.
"""

import pytest

from services.domain.partition import partition_of
from services.runtime.log import RATED, UNIQUE
from tests.simulation.checks import check_drained, check_events, check_unique_chain
from tests.simulation.scheduler import Failure
from tests.simulation.simulation import Simulation

SEEDS = 600
BLOCK = 200


class LosingSimulation(Simulation):
    """A run in which one partition of one topic loses its end once."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.scheduler.profile.workers["operator"] = 0  # a replay of what is lost is no use
        self._wanted = sum(self.scheduler.profile.workers.values())
        self._at = self.rng.randint(60, 400)
        self.lost: tuple[str, int] | None = None

    def _disturb(self) -> None:
        super()._disturb()
        if self.lost is None and self.scheduler.steps >= self._at:
            topic = self.rng.choice((UNIQUE, RATED))
            partition = self.rng.randrange(self.world.partitions)
            records = self.servers.log.partitions[topic, partition]
            # What is lost before anybody read it leaves no trace but the beginning of the chain.
            if records and partition in self.servers.projection.held:
                kept = self.rng.choice((0, len(records) - 1, len(records) // 2))
                self.lost = (topic, partition)
                self.scheduler.note(f"  {topic}[{partition}] loses {len(records) - kept} records")
                del records[kept:]

    def _check(self) -> None:
        lost = None if self.lost is None else self.lost[1]
        for halt in self.halts:
            if f"[{lost}]" not in halt:
                raise Failure("halted", halt)
        stopped = bool(self.halts)
        for partition in range(self.world.partitions):
            if partition != lost or not stopped:
                check_drained(self.servers, partition)
            if partition != lost:
                check_unique_chain(self.servers, partition)

        def may_lose(transaction_id: str) -> bool:
            return stopped and partition_of(transaction_id, self.world.partitions) == lost

        check_events(self.servers, self.clients.truth, may_lose)


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_what_the_log_lost_stops_its_partition_and_is_never_silent(first: int) -> None:
    runs = [LosingSimulation(seed) for seed in range(first, first + BLOCK)]
    failed = {run.seed: str(outcome.failure) for run in runs if (outcome := run.run()).failure}
    assert not failed
    assert sum(run.lost is not None for run in runs) > BLOCK // 6
    assert sum(bool(run.halts) for run in runs) > BLOCK // 10
