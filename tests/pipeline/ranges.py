"""A pipeline of two partitions that take the same events, driven stage by stage: what the tests of
truncated and re-made topics begin with.
"""

import asyncio
from decimal import Decimal

from services.domain.chain import ChainBroken
from services.domain.partition import partition_of
from tests.pipeline.harness import PARTITIONS, Pipeline, event

KEYS = {p: [k for n in range(60) if partition_of(k := f"k{n}", PARTITIONS) == p] for p in (0, 1)}


def post(pipeline: Pipeline, *numbers: int) -> None:
    """The same events for both partitions, each worth a power of two."""
    for partition, keys in KEYS.items():
        pipeline.post(*(event(keys[n], str(2 ** (2 * n + partition))) for n in numbers))


def counted(pipeline: Pipeline, partition: int) -> set[int]:
    """The numbers of the events of a partition that were counted, each once."""
    total = int(pipeline.total())
    assert pipeline.total() == Decimal(total)
    return {n for n in range(20) if total >> (2 * n + partition) & 1}


async def drive(pipeline: Pipeline, *stages: str) -> list[ChainBroken]:
    """Each stage once on each partition, from its checkpoint; a broken chain stops only one."""
    found = []
    for stage in stages or ("dedup", "rating", "projector"):
        for partition in range(PARTITIONS):
            try:
                await getattr(pipeline, f"run_{stage}")(partition)
            except ChainBroken as broken:
                found.append(broken)
    return found


def two_ranges() -> Pipeline:
    """Two ranges a partition, of two events each, are counted."""
    pipeline = Pipeline()
    for numbers in [(0, 1), (2, 3)]:
        post(pipeline, *numbers)
        assert asyncio.run(drive(pipeline.restarted())) == []
    return pipeline
