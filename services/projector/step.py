"""Projecting usage.rated: check the chain, merge many ranges, apply them in one transaction.

Order of effects: 1. link every range to its partition's position; 2. merge; 3. apply by
compare-and-set; 4. move on. A crash anywhere repeats ranges that the positions then skip.
"""

from collections.abc import Callable, Mapping, Sequence

from services.domain.aggregate import Aggregate, AggregateKey, Latest
from services.domain.chain import ChainBroken, Gap, Range, Repeat, link
from services.projector.projection import Advance, Flush, Position, PositionMoved, Projection
from services.runtime.failpoint import reach
from services.runtime.log import RATED, Record
from services.runtime.records import RatedAggregate, RatedBatch, decode_rated, instant_of


class ProjectorStep:
    """See `services.runtime.worker.Step`."""

    def __init__(self, projection: Projection, applied: Callable[[], None]) -> None:
        """`applied` is called after each flush, to wake the pricing of drafts."""
        self._projection = projection
        self._applied = applied
        self._positions: dict[int, Position | None] = {}

    async def open(self, partition: int) -> int:
        """The row in projection_position says where to go on."""
        position = (await self._projection.positions([partition])).get(partition)
        self._positions[partition] = position
        return 0 if position is None else position.next_rated

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
        return flush, broken

    def _merge_partition(self, flush: Flush, partition: int, records: Sequence[Record]) -> None:
        position = self._positions[partition]
        next_raw = None if position is None else position.next_raw
        for record in records:
            batch = decode_rated(record.value, f"{RATED}[{partition}]@{record.offset}")
            if next_raw is None and record.offset != 0:
                raise ChainBroken(RATED, partition, 0, batch.first)
            arrived = Range(batch.first, batch.last)
            step = link(next_raw, arrived)
            if isinstance(step, Repeat):
                continue
            if isinstance(step, Gap):
                raise ChainBroken(RATED, partition, step.expected, step.found)
            # Two raters cut the same prefix of usage.unique at the same offsets (DESIGN section
            # 2), so a range is new as a whole or not at all.
            assert step.range == arrived, f"{RATED}[{partition}]@{record.offset} overlaps"
            _take(flush, position, batch, record.offset)
            next_raw = batch.last + 1


def _take(flush: Flush, position: Position | None, batch: RatedBatch, offset: int) -> None:
    advance = flush.advances.get(batch.partition)
    if advance is None:
        advance = flush.advances[batch.partition] = Advance(
            expected=position,
            first_raw=batch.first,
            next_raw=batch.first,
            next_rated=offset,
            ingested_to=instant_of(batch.ingested_to_ms),
            catalog_version=batch.catalog_version,
        )
    advance.next_raw = batch.last + 1
    advance.next_rated = offset + 1
    advance.ingested_to = instant_of(batch.ingested_to_ms)
    advance.catalog_version = batch.catalog_version
    advance.counted += batch.counted
    advance.duplicates += batch.duplicates
    advance.conflicts += batch.conflicts
    advance.rejected += batch.rejected
    advance.unmatched += batch.unmatched
    flush.rejections += [
        (batch.partition, batch.catalog_version, rejection) for rejection in batch.rejections
    ]
    for part in batch.aggregates:
        key = AggregateKey(part.reference, part.metric_id, tuple(part.group), part.hour)
        held = flush.aggregates.get(key)
        if held is None:
            flush.aggregates[key] = _aggregate(batch.partition, part)
        else:
            held.merge(_aggregate(batch.partition, part))


def _aggregate(partition: int, part: RatedAggregate) -> Aggregate:
    latest = None
    if part.latest_at is not None:
        assert part.latest_offset is not None
        assert part.latest is not None
        latest = Latest(part.latest_at, partition, part.latest_offset, part.latest)
    return Aggregate(part.count, part.total, part.peak, latest, set(part.distinct))
