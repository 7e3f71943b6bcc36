"""The projection in memory, for tests and simulation."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.domain.aggregate import Aggregate, AggregateKey
from services.projector.projection import Advance, Flush, Position, PositionMoved
from services.runtime.records import RatedConflict, RatedRejection


class MemoryProjection:
    """See `services.projector.projection.Projection`."""

    def __init__(self) -> None:
        self.held: dict[int, Position] = {}
        self.fates: dict[int, Advance] = {}
        self.aggregates: dict[AggregateKey, Aggregate] = {}
        self.rejections: list[tuple[int, int, RatedRejection]] = []
        self.conflicts: dict[tuple[int, int], RatedConflict] = {}

    async def positions(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See Projection."""
        return {p: self.held[p] for p in partitions if p in self.held}

    async def apply(self, flush: Flush) -> None:
        """See Projection."""
        for partition, advance in flush.advances.items():
            if self.held.get(partition) != advance.expected:
                raise PositionMoved
        conflicts = {(p, conflict.offset): conflict for p, conflict in flush.conflicts}
        assert len(conflicts) == len(flush.conflicts), "a conflict twice in one flush"
        assert not conflicts.keys() & self.conflicts.keys(), "a conflict is there already"
        for partition, advance in flush.advances.items():
            self.held[partition] = Position(advance.next_raw, advance.next_rated)
            self._add_fates(partition, advance)
        for key, aggregate in flush.aggregates.items():
            self.aggregates.setdefault(key, Aggregate()).merge(aggregate)
        self.rejections += flush.rejections
        self.conflicts.update(conflicts)

    def _add_fates(self, partition: int, advance: Advance) -> None:
        sums = self.fates.setdefault(partition, replace(advance))
        if advance.expected is None:
            return
        sums.next_raw = advance.next_raw
        for name in ("counted", "duplicates", "conflicts", "rejected", "unmatched"):
            setattr(sums, name, getattr(sums, name) + getattr(advance, name))
