"""Kafka, Redis and PostgreSQL as the processes see them: memory, with a point before each effect
and one before each answer. What they hold outlives every process.
"""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from services.dedup.index import Behind, Claims, Judged
from services.dedup.index_memory import MemorySeenIndex
from services.domain.catalog import Catalog
from services.domain.chain import Range
from services.domain.dedup import Sighting
from services.projector.projection import Flush, Position
from services.projector.projection_memory import MemoryProjection
from services.replay.generations_memory import MemoryGenerationProjection, MemoryGenerations
from services.runtime.log import RATED, RAW, AppendFailed, Record
from services.runtime.log_memory import MemoryLog
from services.runtime.metric_rows import CatalogHistory, DatedMetric
from tests.simulation.scheduler import CURRENT, Scheduler

Result = TypeVar("Result")

# Records a read of the log gives at most: small, so that reading takes several turns.
READ_MAX = 3


def at_once(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine of a memory adapter, which never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("a memory adapter waited")


class Servers:
    """What is kept: the log, the index, the projection, the catalog."""

    def __init__(self, catalogs: list[Catalog], start_ms: int) -> None:
        self.log = MemoryLog()
        self.log.now_ms = start_ms
        self.index = MemorySeenIndex()
        self.generations = MemoryGenerations(self.history)
        self.catalogs = catalogs  # every version so far, the newest last
        self._dated = {
            metric.id: DatedMetric(metric, catalogs[0].version, None)
            for metric in catalogs[0].metrics
        }
        self.answered_version = catalogs[-1].version
        # For every raw record, the catalog that was answered before it was there.
        self.version_at: dict[tuple[int, int], int] = {}
        self._snapshot: tuple[dict[tuple[int, bytes], Sighting], dict[int, int]] = ({}, {})
        # (generation, partition) -> raw offset -> end of usage.rated at the promotion before.
        self.counted_live: dict[tuple[int, int], dict[int, int]] = {}
        self._rated_ends: dict[int, int] = {}
        self._replay_indexes: dict[int, MemorySeenIndex] = {}

    @property
    def projection(self) -> MemoryProjection:
        """What the live generation has counted."""
        return self.generations.projections[self.generations.live_generation]

    def history(self) -> CatalogHistory:
        """The metrics of every version."""
        return CatalogHistory(self.catalogs[-1].version, list(self._dated.values()))

    def change_catalog(self, catalog: Catalog) -> None:
        """A newer version, in force at once."""
        self.catalogs.append(catalog)
        kept = {metric.id for metric in catalog.metrics}
        for metric in catalog.metrics:
            self._dated.setdefault(metric.id, DatedMetric(metric, catalog.version, None))
        for name, dated in self._dated.items():
            if name not in kept and dated.archived_version is None:
                self._dated[name] = replace(dated, archived_version=catalog.version)

    def rated_ends(self) -> dict[int, int]:
        """How far usage.rated reaches, by partition."""
        return {
            partition: len(records)
            for (topic, partition), records in self.log.partitions.items()
            if topic == RATED
        }

    def note_promotion(self, rated_ends: dict[int, int]) -> None:
        """How far usage.rated reached when the live generation that was swapped was held."""
        self._rated_ends = rated_ends

    def note_live_count(self, flush: Flush) -> None:
        """Which raw offsets the live count added, and to which generation."""
        for partition, advance in flush.advances.items():
            counted = self.counted_live.setdefault(
                (self.generations.live_generation, partition), {}
            )
            end = self._rated_ends.get(partition, 0)
            counted.update(dict.fromkeys(range(advance.first_raw, advance.next_raw), end))

    def replay_index(self, generation: int) -> MemorySeenIndex:
        """The index of a replay from usage.raw, on the same Redis."""
        return self._replay_indexes.setdefault(generation, MemorySeenIndex())

    def put_raw(self, partition: int, key: bytes | None, value: bytes | None) -> None:
        """A record on usage.raw."""
        offset = self.log.put(RAW, partition, key, value)
        self.version_at[partition, offset] = self.answered_version

    def snapshot_index(self) -> None:
        """Redis writes what it has to its disk."""
        self._snapshot = (dict(self.index.seen), dict(self.index.marks))

    def lose_index_suffix(self) -> None:
        """Redis restarts from its disk, or a replica that was behind takes over."""
        seen, marks = self._snapshot
        self.index.seen, self.index.marks = dict(seen), dict(marks)

    def flush_index(self) -> None:
        """FLUSHALL."""
        for index in (self.index, *self._replay_indexes.values()):
            index.seen.clear()
            index.marks.clear()


class SimulatedLog:
    """See `services.runtime.log.Log`."""

    def __init__(self, servers: Servers, scheduler: Scheduler) -> None:
        self._log = servers.log
        self._scheduler = scheduler

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """See Log. Appends of one process to one partition keep their order."""
        offset: int = await self._scheduler.call(
            f"append {topic}[{partition}]",
            lambda: self._log.put(topic, partition, None, value),
            AppendFailed,
            order=(CURRENT.get().name, topic, partition),
        )
        return offset

    async def last(self, topic: str, partition: int) -> Record | None:
        """See Log; in two steps, as on Kafka."""
        start, end = await self.bounds(topic, partition)
        if end == start:
            return None
        records = await self.read(topic, partition, end - 1)
        if not records:  # lost meanwhile
            raise ConnectionError(topic)
        return records[-1]

    async def read(self, topic: str, partition: int, offset: int) -> list[Record]:
        """See Log."""
        records: list[Record] = await self._scheduler.read(
            f"read {topic}[{partition}]@{offset}",
            lambda: self._log.partitions[topic, partition][offset : offset + READ_MAX],
            ConnectionError,
        )
        return records

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See Log."""
        bounds: tuple[int, int] = await self._scheduler.read(
            f"bounds {topic}[{partition}]",
            lambda: at_once(self._log.bounds(topic, partition)),
            ConnectionError,
        )
        return bounds

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See Log."""
        offset: int = await self._scheduler.read(
            f"offset_at {topic}[{partition}]",
            lambda: at_once(self._log.offset_at(topic, partition, timestamp_ms)),
            ConnectionError,
        )
        return offset


class SimulatedIndex:
    """See `services.dedup.index.SeenIndex`."""

    def __init__(self, index: MemorySeenIndex, scheduler: Scheduler) -> None:
        self._index = index
        self._scheduler = scheduler

    async def claim(
        self,
        partition: int,
        taken: Range,
        claims: Claims,
        *,
        chain_start: int,
        oldest_offset: int,
    ) -> Judged | Behind:
        """See SeenIndex."""
        answer: Judged | Behind = await self._scheduler.call(
            f"claim [{partition}] {taken.first}..{taken.last}",
            lambda: at_once(
                self._index.claim(
                    partition,
                    taken,
                    claims,
                    chain_start=chain_start,
                    oldest_offset=oldest_offset,
                )
            ),
            ConnectionError,
        )
        return answer

    async def restore(
        self, partition: int, taken: Range, claims: Claims, *, anew: bool
    ) -> Behind | None:
        """See SeenIndex."""
        behind: Behind | None = await self._scheduler.call(
            f"restore [{partition}] {taken.first}..{taken.last}",
            lambda: at_once(self._index.restore(partition, taken, claims, anew=anew)),
            ConnectionError,
        )
        return behind

    async def forget(self, partition: int) -> None:
        """See SeenIndex."""
        await self._scheduler.call(
            f"forget [{partition}]",
            lambda: at_once(self._index.forget(partition)),
            ConnectionError,
        )

    async def sweep(self, partition: int, cursor: int, oldest_offset: int) -> int:
        """See SeenIndex."""
        next_cursor: int = await self._scheduler.call(
            f"sweep [{partition}] below {oldest_offset}",
            lambda: at_once(self._index.sweep(partition, cursor, oldest_offset)),
            ConnectionError,
        )
        return next_cursor


class SimulatedProjection:
    """See `services.projector.projection.Projection`."""

    def __init__(
        self,
        projection: MemoryGenerationProjection,
        servers: Servers,
        scheduler: Scheduler,
        *,
        live: bool = False,
    ) -> None:
        self._projection = projection
        self._servers = servers
        self._scheduler = scheduler
        self._live = live

    async def positions(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See Projection."""
        positions: Mapping[int, Position] = await self._scheduler.read(
            "positions", lambda: at_once(self._projection.positions(partitions)), ConnectionError
        )
        return positions

    async def apply(self, flush: Flush) -> None:
        """See Projection."""
        await self._scheduler.call(
            "apply",
            lambda: self._apply(flush),
            ConnectionError,
            ready=self._free,
        )

    def _free(self) -> bool:
        """A promotion stops the live count for its moment."""
        return not (self._live and self._servers.generations.held.locked())

    def _apply(self, flush: Flush) -> None:
        at_once(self._projection.apply(flush))
        if self._live:
            self._servers.note_live_count(flush)


class SimulatedCatalogs:
    """See `services.rating.catalog.CatalogSource`."""

    def __init__(self, servers: Servers, scheduler: Scheduler) -> None:
        self._servers = servers
        self._scheduler = scheduler

    async def current(self, held: Catalog | None) -> Catalog:
        """See CatalogSource."""
        newest: Catalog = await self._scheduler.read(
            "catalog", lambda: self._servers.catalogs[-1], ConnectionError
        )
        return held if held is not None and held.version == newest.version else newest
