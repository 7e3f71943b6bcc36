"""A worker over a log and a consumer in memory, with a step that notes what it is given."""

import asyncio
from collections.abc import Mapping, Sequence

from services.domain.chain import ChainBroken
from services.runtime.consumer_memory import MemoryConsumer
from services.runtime.log import RAW, Record
from services.runtime.log_memory import MemoryLog
from services.runtime.worker import Worker

PATIENCE = 50  # turns of the event loop in which everything here settles


class Noting:
    """A step that notes what it is given; its chain is the offsets themselves."""

    def __init__(self) -> None:
        self.checkpoints: dict[int, int] = {}
        self.opened: list[int] = []
        self.closed: list[int] = []
        self.seen: dict[int, list[int]] = {}
        self.broken: set[int] = set()  # open raises for these
        self.fails: Exception | None = None
        self.opening = asyncio.Event()
        self.opening.set()

    async def open(self, partition: int) -> int:
        await self.opening.wait()
        self.opened.append(partition)
        if self.fails is not None:
            raise self.fails
        if partition in self.broken:
            raise ChainBroken(RAW, partition, self.checkpoints[partition], 0)
        return self.checkpoints.setdefault(partition, 0)

    async def close(self, partition: int) -> None:
        self.closed.append(partition)

    async def process(self, records: Mapping[int, Sequence[Record]]) -> list[ChainBroken]:
        broken = []
        for partition, batch in records.items():
            for record in batch:
                expected = self.checkpoints[partition]
                if record.offset > expected:
                    broken.append(ChainBroken(RAW, partition, expected, record.offset))
                    break
                if record.offset == expected:
                    self.seen.setdefault(partition, []).append(record.offset)
                    self.checkpoints[partition] = expected + 1
        return broken


class Bench:
    """A worker over a log with ten records in each of two partitions."""

    def __init__(self, pace_s: float = 0.0) -> None:
        self.log = MemoryLog()
        for partition in (0, 1):
            for _ in range(10):
                self.log.put(RAW, partition, None, None)
        self.step = Noting()
        self.consumer = MemoryConsumer(self.log, RAW)
        self.ready = 0
        self.worker = Worker(
            self.consumer,
            topic=RAW,
            records_max=4,
            step=self.step,
            partitions=2,
            pace_s=pace_s,
            ready=self._note_ready,
        )
        self.stopping = asyncio.Event()
        self.running: asyncio.Task[None] | None = None

    async def start(self, *partitions: int) -> "Bench":
        await self.worker.start()
        self.running = asyncio.create_task(self.worker.run(self.stopping))
        await self.consumer.assign(partitions)
        return self

    def _note_ready(self) -> None:
        self.ready += 1

    async def settle(self) -> None:
        for _ in range(PATIENCE):
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.stopping.set()
        assert self.running is not None
        await self.running


async def running(*partitions: int) -> Bench:
    return await Bench().start(*partitions)
