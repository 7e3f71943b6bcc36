"""Projecting usage.rated: check the chain, merge many ranges, apply them in one transaction.

Order of effects: 1. link every range to its partition's position; 2. merge; 3. apply by
compare-and-set; 4. move on. A crash anywhere repeats ranges that the positions then skip.
"""

from collections.abc import Callable, Mapping, Sequence

from services.domain.chain import ChainBroken, Unit, check_position
from services.projector.merge import merge_range
from services.projector.projection import Flush, Position, PositionMoved, Projection
from services.runtime.failpoint import reach
from services.runtime.log import RATED, Log, Record
from services.runtime.records import decode_rated


class ProjectorStep:
    """See `services.runtime.worker.Step`."""

    def __init__(self, log: Log, projection: Projection, applied: Callable[[], None]) -> None:
        """`applied` is called after each flush, to wake the pricing of drafts."""
        self._log = log
        self._projection = projection
        self._applied = applied
        self._positions: dict[int, Position | None] = {}

    async def open(self, partition: int) -> int:
        """The row in projection_position says where to go on; without one, the chain begins with
        the topic. Raises ChainBroken when usage.rated no longer reaches back to there."""
        position = (await self._projection.positions([partition])).get(partition)
        next_rated = 0 if position is None else position.next_rated
        bounds = await self._log.bounds(RATED, partition)
        check_position(RATED, partition, next_rated, bounds, Unit.OFFSET)
        self._positions[partition] = position
        return next_rated

    async def close(self, partition: int) -> None:
        """See Step."""
        self._positions.pop(partition, None)

    async def process(self, records: Mapping[int, Sequence[Record]]) -> list[ChainBroken]:
        """See Step. When another projector was faster, take its positions and decide again."""
        held = {p: batch for p, batch in records.items() if p in self._positions}
        while True:
            flush, broken = self._merged(held)
            if not flush.advances:
                return broken
            try:
                await self._projection.apply(flush)
                reach("after_commit")
            except PositionMoved:
                found = await self._projection.positions(list(held))
                self._positions.update({p: found.get(p) for p in held})
                continue
            for partition, advance in flush.advances.items():
                self._positions[partition] = Position(advance.next_raw, advance.next_rated)
            self._applied()
            return broken

    def _merged(self, records: Mapping[int, Sequence[Record]]) -> tuple[Flush, list[ChainBroken]]:
        flush = Flush()
        broken: list[ChainBroken] = []
        for partition, batch in records.items():
            try:
                self._merge_partition(flush, partition, batch)
            except ChainBroken as gap:
                broken.append(gap)
        flush.settle()
        return flush, broken

    def _merge_partition(self, flush: Flush, partition: int, records: Sequence[Record]) -> None:
        position = self._positions[partition]
        next_raw = None if position is None else position.next_raw
        for record in records:
            batch = decode_rated(record.value, f"{RATED}[{partition}]@{record.offset}")
            next_raw = merge_range(flush, position, next_raw, batch, record.offset)
