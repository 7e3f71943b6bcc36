"""A pipeline and replays beside it over the memory adapters; what tests of replay drive."""

from dataclasses import dataclass, field
from uuid import UUID

from services.dedup.index_memory import MemorySeenIndex
from services.domain.meter import Aggregation, BillableMetric
from services.projector.projection_memory import MemoryProjection
from services.projector.step import ProjectorStep
from services.replay.build import Build
from services.replay.generations import Generation, Source
from services.replay.generations_memory import MemoryGenerationProjection, MemoryGenerations
from services.replay.level import approach, level
from services.replay.ranges import Catalogs, Ranges, UniqueRanges
from services.replay.raw import RawRanges
from services.runtime.metric_rows import CatalogHistory, DatedMetric
from tests.pipeline.harness import PARTITIONS, SUM_OF_BYTES, Pipeline, event

LATE = BillableMetric(UUID(int=2), "events", Aggregation.COUNT)


@dataclass
class Replayed:
    """A pipeline whose projector writes the live generation, and replays beside it."""

    pipeline: Pipeline = field(default_factory=Pipeline)
    metrics: list[DatedMetric] = field(default_factory=lambda: [DatedMetric(SUM_OF_BYTES, 1, None)])
    index: MemorySeenIndex = field(default_factory=MemorySeenIndex)

    def __post_init__(self) -> None:
        self.generations = MemoryGenerations(
            lambda: CatalogHistory(self.pipeline.catalogs.catalog.version, self.metrics)
        )
        live = MemoryGenerationProjection(self.generations)
        self.pipeline.projector = ProjectorStep(self.pipeline.log, live, lambda: None)

    def post(self, *numbers: int) -> None:
        """Each event is worth a power of two; a number posted before is a duplicate."""
        self.pipeline.post(*(event(str(number), str(2**number)) for number in numbers))

    async def count(self, *numbers: int) -> None:
        """Post and let the live pipeline count."""
        self.post(*numbers)
        await self.pipeline.run()

    def build(self, generation: Generation) -> Build:
        """What `tollgate replay` puts together."""
        log = self.pipeline.log
        catalogs = Catalogs(generation, self.generations.history)
        ranges: Ranges = UniqueRanges(log, catalogs)
        if generation.source is Source.RAW:
            ranges = RawRanges(log, self.index, catalogs, partition_count=PARTITIONS)
        projection = MemoryGenerationProjection(self.generations, generation.id)
        return Build(log, projection, ranges, partition_count=PARTITIONS)

    async def replayed(self, source: Source = Source.UNIQUE) -> Generation:
        """A new generation, counted as far as the live one."""
        generation = await self.generations.create(source)
        await approach(self.generations, self.build(generation), generation.id)
        return generation

    async def promote(self, generation: Generation, *, back: bool = False) -> None:
        """As `tollgate replay promote`."""
        async with level(
            self.generations, self.build(generation), generation.id, promoting=True
        ) as held:
            await held.promote(generation.id, back=back)

    def counted(self, generation: int) -> MemoryProjection:
        """What a generation has counted."""
        return self.generations.projections[generation]

    def total(self, generation: int) -> int:
        """Which numbers a generation has counted, as the sum of their powers of two."""
        return sum(int(a.total) for a in self.counted(generation).aggregates.values())
