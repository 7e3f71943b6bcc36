"""Ranges that the catalog makes large, on the real Kafka: a record of usage.rated takes them, they
are projected whole, and one that is too large all the same stops its partition alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

import pytest

from services.dedup.index_memory import MemorySeenIndex
from services.dedup.step import DedupStep
from services.domain.catalog import Catalog
from services.domain.meter import BillableMetric
from services.domain.partition import partition_of
from services.projector.projection_memory import MemoryProjection
from services.projector.step import ProjectorStep
from services.rating.catalog_memory import MemoryCatalogSource
from services.rating.step import RatingStep
from services.runtime.events import WireEvent, encode_event
from services.runtime.log import BATCH_BYTES_MAX, RATED, RAW, UNIQUE
from tests.conftest import Servers
from tests.contract.conftest import Loop
from tests.pipeline.harness import AT, PARTITIONS, SUM_OF_BYTES
from tests.stages.places import OwnTopics

FORMERLY = 4 * 1024 * 1024  # what the topic took when such a range stopped rating for good


def metrics(count: int, *group_keys: tuple[str, ...]) -> tuple[BillableMetric, ...]:
    """SUMs of the bytes of a transfer."""
    return tuple(
        replace(SUM_OF_BYTES, id=UUID(int=1 + n), group_keys=group_keys) for n in range(count)
    )


def transfers(partition: int, count: int, amount: str, url_bytes: int) -> list[WireEvent]:
    """Events of one partition, each with a url of its own."""
    keys = (key for n in range(20 * count) if partition_of(key := f"k{n}", PARTITIONS) == partition)
    return [
        WireEvent(
            key, "c", "transfer", AT, {"bytes": amount, "url": f"{key}/".ljust(url_bytes, "u")}
        )
        for key, _ in zip(keys, range(count), strict=False)
    ]


@dataclass
class Rated:
    """A worker of rating and a projector over real topics."""

    log: OwnTopics
    catalogs: MemoryCatalogSource

    def __post_init__(self) -> None:
        self.rating = RatingStep(self.log, self.catalogs)
        self.projection = MemoryProjection()

    async def post(self, partition: int, events: Sequence[WireEvent]) -> None:
        """As gateway and dedup do."""
        records = [(event.transaction_id.encode(), encode_event(event)) for event in events]
        await self.log.put(RAW, partition, *records)
        dedup = DedupStep(self.log, MemorySeenIndex(), PARTITIONS)
        offset = await dedup.open(partition)
        assert not await dedup.process({partition: await self.log.all(RAW, partition, offset)})

    async def rate(self, partition: int) -> list[int]:
        """Rate what there is; the sizes of the records of usage.rated, in bytes."""
        offset = await self.rating.open(partition)
        for record in await self.log.all(UNIQUE, partition, offset):
            await self.rating.process(record)
        return [len(r.value or b"") for r in await self.log.all(RATED, partition, 0)]

    async def project(self, partition: int) -> None:
        """As a projector that has just taken the partition over."""
        projector = ProjectorStep(self.log, self.projection, lambda: None)
        offset = await projector.open(partition)
        assert not await projector.process(
            {partition: await self.log.all(RATED, partition, offset)}
        )


def test_events_that_many_metrics_refuse_are_kept_whole_for_each(
    loop: Loop, servers: Servers
) -> None:
    events = transfers(0, 900, "many", url_bytes=700)
    refusing = metrics(40)

    async def scenario() -> None:
        async with OwnTopics(servers.kafka_bootstrap_servers) as log:
            stages = Rated(log, MemoryCatalogSource(Catalog(1, refusing)))
            await stages.post(0, events)
            [size] = await stages.rate(0)
            assert size > FORMERLY
            await stages.project(0)
            kept = {(r.offset, r.metric_id): r for _, _, r in stages.projection.rejections}
            assert len(kept) == len(stages.projection.rejections) == 900 * 40
            for offset, event in enumerate(events):
                for metric in refusing:
                    row = kept[offset, metric.id]
                    assert (row.key, row.value) == (
                        event.transaction_id.encode(),
                        encode_event(event),
                    )

    loop.run(scenario())


def test_a_range_that_many_metrics_group_apart_is_counted(loop: Loop, servers: Servers) -> None:
    async def scenario() -> None:
        async with OwnTopics(servers.kafka_bootstrap_servers) as log:
            stages = Rated(log, MemoryCatalogSource(Catalog(1, metrics(45, ("url",)))))
            await stages.post(0, transfers(0, 1_000, "7", url_bytes=60))
            [size] = await stages.rate(0)
            assert size > FORMERLY
            await stages.project(0)
            aggregates = stages.projection.aggregates
            assert len(aggregates) == 45 * 1_000
            assert {a.total for a in aggregates.values()} == {Decimal(7)}

    loop.run(scenario())


def test_as_many_metrics_as_promised_fit_whatever_the_events_are(
    loop: Loop, servers: Servers
) -> None:
    """40 metrics, each counting every event apart, by nearly all that it says."""

    async def scenario() -> None:
        async with OwnTopics(servers.kafka_bootstrap_servers) as log:
            stages = Rated(log, MemoryCatalogSource(Catalog(1, metrics(40, ("url",)))))
            amount = "9" * 38 + "." + "9" * 38
            await stages.post(0, transfers(0, 1_000, amount, url_bytes=720))
            [size] = await stages.rate(0)
            assert 30_000_000 < size < BATCH_BYTES_MAX[RATED]
            await stages.project(0)
            assert {a.count for a in stages.projection.aggregates.values()} == {1}

    loop.run(scenario())


def test_a_range_that_is_too_large_stops_its_partition_until_metrics_are_archived(
    loop: Loop, servers: Servers, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        async with OwnTopics(servers.kafka_bootstrap_servers) as log:
            catalogs = MemoryCatalogSource(Catalog(1, metrics(900, ("url",))))
            stages = Rated(log, catalogs)
            await stages.post(0, transfers(0, 900, "7", url_bytes=60))
            await stages.post(1, transfers(1, 3, "7", url_bytes=60))
            assert await stages.rate(0) == []
            [halt] = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
            for said in ("usage.rated[0]", "raw offsets 0 to 899", "900 metrics", "archive"):
                assert said in halt
            assert int(halt.split(" bytes")[0].split()[-1]) > BATCH_BYTES_MAX[RATED]
            assert len(await stages.rate(1)) == 1
            catalogs.catalog = Catalog(2, metrics(30, ("url",)))
            assert len(await stages.rate(0)) == 1
            await stages.project(0)
            assert len(stages.projection.aggregates) == 30 * 900

    loop.run(scenario())
