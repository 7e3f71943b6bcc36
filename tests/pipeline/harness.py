"""The real stage code over the memory adapters, driven step by step; crashes are made by hand."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from services.dedup.index_memory import MemorySeenIndex
from services.dedup.step import DedupStep
from services.domain.aggregate import AggregateKey
from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric, ValueFilter
from services.domain.number import ZERO, add
from services.domain.partition import partition_of
from services.projector.projection_memory import MemoryProjection
from services.projector.step import ProjectorStep
from services.rating.catalog_memory import MemoryCatalogSource
from services.rating.step import RatingStep
from services.runtime.events import WireEvent, encode_event
from services.runtime.log import RATED, RAW, UNIQUE, Record
from services.runtime.log_memory import MemoryLog

PARTITIONS = 2
BYTES = UUID(int=1)
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
SUM_OF_BYTES = BillableMetric(
    BYTES,
    "bytes",
    Aggregation.SUM,
    "bytes",
    ValueFilter(frozenset({"transfer"})),
    group_keys=(("region",),),
)


def event(transaction_id: str, amount: str = "1", region: str = "eu") -> WireEvent:
    """One transfer of `amount` bytes by customer c."""
    return WireEvent(transaction_id, "c", "transfer", AT, {"bytes": amount, "region": region})


@dataclass
class Pipeline:
    """Every stage on every partition, over one log."""

    log: MemoryLog = field(default_factory=MemoryLog)
    index: MemorySeenIndex = field(default_factory=MemorySeenIndex)
    projection: MemoryProjection = field(default_factory=MemoryProjection)
    catalogs: MemoryCatalogSource = field(
        default_factory=lambda: MemoryCatalogSource(Catalog(1, (SUM_OF_BYTES,)))
    )

    def __post_init__(self) -> None:
        self.dedup = DedupStep(self.log, self.index, PARTITIONS)
        self.rating = RatingStep(self.log, self.catalogs)
        self.projector = ProjectorStep(self.log, self.projection, lambda: None)

    def restarted(self) -> "Pipeline":
        """New processes over the same log, index, catalog and projection."""
        return Pipeline(self.log, self.index, self.projection, self.catalogs)

    def post(self, *events: WireEvent) -> None:
        """Put events on usage.raw as the gateway does."""
        for posted in events:
            key = posted.transaction_id
            partition = partition_of(key, PARTITIONS)
            self.log.put(RAW, partition, key.encode(), encode_event(posted))

    async def run(self) -> None:
        """Open every partition at its stage's checkpoint and let each stage read to the end."""
        for partition in range(PARTITIONS):
            await self.run_dedup(partition)
            await self.run_rating(partition)
            await self.run_projector(partition)

    async def run_dedup(self, partition: int) -> None:
        """Dedup of one partition, from its checkpoint."""
        offset = await self.dedup.open(partition)
        broken = await self.dedup.process({partition: self._from(RAW, partition, offset)})
        assert not broken

    async def run_rating(self, partition: int) -> None:
        """Rating of one partition, from its checkpoint."""
        offset = await self.rating.open(partition)
        for record in self._from(UNIQUE, partition, offset):
            await self.rating.process(record)

    async def run_projector(self, partition: int) -> None:
        """The projector on one partition, from its checkpoint."""
        offset = await self.projector.open(partition)
        broken = await self.projector.process({partition: self._from(RATED, partition, offset)})
        assert not broken

    def _from(self, topic: str, partition: int, offset: int) -> list[Record]:
        return [r for r in self.log.partitions[topic, partition] if r.offset >= offset]

    def total(self) -> Decimal:
        """The bytes counted, all regions."""
        return sum((a.total for a in self.projection.aggregates.values()), Decimal(0))

    def by_region(self) -> dict[str | None, Decimal]:
        """The bytes counted by region."""
        sums: dict[str | None, Decimal] = {}
        for key, aggregate in self.projection.aggregates.items():
            assert isinstance(key, AggregateKey)
            sums[key.group[0]] = add(sums.get(key.group[0], ZERO), aggregate.total)
        return sums

    def fates(self) -> dict[str, int]:
        """Counted, duplicates, conflicts, rejected and unmatched over all partitions."""
        names = ("counted", "duplicates", "conflicts", "rejected", "unmatched")
        return {
            name: sum(getattr(fate, name) for fate in self.projection.fates.values())
            for name in names
        }

    def accepted(self) -> int:
        """Records on usage.raw."""
        return sum(len(self.log.partitions[RAW, p]) for p in range(PARTITIONS))
