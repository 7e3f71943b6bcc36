"""The processes: the real code of each stage, composed as its `__main__` does over the simulated
servers. Rating's Faust is a model of what it may do to the agent: feed it from anywhere.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from services.dedup.step import DedupStep
from services.domain.chain import ChainBroken
from services.gateway.app import IngestApp
from services.gateway.sink_kafka import KafkaEventSink
from services.projector.step import ProjectorStep
from services.rating.step import RatingStep
from services.replay.generations_memory import MemoryGenerationProjection
from services.runtime.consumer import OffsetsGone
from services.runtime.log import RATED, RAW, UNIQUE, Record
from services.runtime.records import instant_of
from services.runtime.worker import Worker
from tests.simulation.group import Group, SimulatedConsumer
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.servers import (
    Servers,
    SimulatedCatalogs,
    SimulatedIndex,
    SimulatedLog,
    SimulatedProjection,
)

logger = logging.getLogger("services.rating.agent")  # whose part Faust's model has

BODY_BYTES_MAX = 100_000
TOKEN = "t"
# Records that Faust holds ready for the agent.
BUFFERED_MAX = 4
# As the agent's, but few enough that some have to wait.
UNDER_WAY_MAX = 3


class World:
    """What every process of a run shares."""

    def __init__(self, scheduler: Scheduler, servers: Servers) -> None:
        self.scheduler = scheduler
        self.servers = servers
        self.partitions = scheduler.profile.partitions
        self.groups = {
            stage: Group(scheduler, self.partitions) for stage in ("dedup", "rating", "projector")
        }

    def now(self) -> datetime:
        """The clock of every process: that of the log."""
        return instant_of(self.servers.log.now_ms)


class Gateway:
    """A gateway process: what it has not answered when it dies is never answered."""

    def __init__(self, world: World, process: Process) -> None:
        self.process = process
        self._sink = KafkaEventSink("", world.partitions)
        self._app = IngestApp(
            self._sink,
            _name_of,
            world.now,
            body_bytes_max=BODY_BYTES_MAX,
            bytes_in_flight_max=10 * BODY_BYTES_MAX,
        )
        self.unanswered: list[asyncio.Future[int | None]] = []
        process.on_death.append(self._reset_connections)

    async def run(self) -> None:
        """Connect; requests come by `post`."""
        await self._sink.start()

    def post(self, body: bytes) -> "asyncio.Future[int | None]":
        """One request; its status, None when the connection was lost."""
        answer: asyncio.Future[int | None] = self.process.scheduler.loop.create_future()
        self.unanswered.append(answer)
        self.process.run(self._serve(body, answer))
        return answer

    async def _serve(self, body: bytes, answer: "asyncio.Future[int | None]") -> None:
        status: list[int] = []
        scope = {
            "type": "http",
            "method": "POST",
            "headers": [(b"authorization", b"Bearer t"), (b"content-length", b"%d" % len(body))],
        }

        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: object) -> None:
            assert isinstance(message, dict)
            if "status" in message:
                status.append(message["status"])

        await self._app(scope, receive, send)
        await self.process.scheduler.point(f"answer {status}")
        if not answer.done():
            answer.set_result(status[0])
            self.unanswered.remove(answer)

    def _reset_connections(self) -> None:
        for answer in self.unanswered:
            if not answer.done():
                answer.set_result(None)
        self.unanswered.clear()


async def _name_of(token: str) -> str | None:
    return "client" if token == TOKEN else None


async def dedup(world: World, process: Process) -> None:
    """See services/dedup/__main__.py."""
    log = SimulatedLog(world.servers, world.scheduler)
    index = SimulatedIndex(world.servers.index, world.scheduler)
    await work(world, process, RAW, DedupStep(log, index, world.partitions))


async def projector(world: World, process: Process) -> None:
    """See services/projector/__main__.py; nothing is priced."""
    log = SimulatedLog(world.servers, world.scheduler)
    live = MemoryGenerationProjection(world.servers.generations)
    projection = SimulatedProjection(live, world.servers, world.scheduler, live=True)
    await work(world, process, RATED, ProjectorStep(log, projection, lambda: None))


async def work(world: World, process: Process, topic: str, step: DedupStep | ProjectorStep) -> None:
    """A worker over a step."""
    consumer = SimulatedConsumer(world.servers, topic, world.groups[process.stage], process)
    worker = Worker(
        consumer,
        topic=topic,
        records_max=1_000,
        step=step,
        partitions=world.partitions,
        pace_s=0.1,
    )
    await worker.start()
    await worker.run(asyncio.Event())


async def rating(world: World, process: Process) -> None:
    """See services/rating/agent.py."""
    log = SimulatedLog(world.servers, world.scheduler)
    step = RatingStep(log, SimulatedCatalogs(world.servers, world.scheduler))
    consumer = SimulatedConsumer(world.servers, UNIQUE, world.groups[process.stage], process)
    await Faust(consumer, step).run()


class Faust:
    """What Faust does around the agent: it reads ahead, and at an assignment it seeks to what was
    committed, which is our checkpoint, unless the commit went wrong; meanwhile the agent goes on
    with records from before."""

    def __init__(self, consumer: SimulatedConsumer, step: RatingStep) -> None:
        self._consumer = consumer
        self._step = step
        self._scheduler = consumer.process.scheduler
        self._buffer: deque[Record] = deque()
        self._looked_last = False
        self._under_way = 0

    async def run(self) -> None:
        """Feed the agent, some records at a time, until it raises."""
        await self._consumer.start(self)
        self._consumer.process.run(self._read_ahead())
        self._consumer.process.run(self._look())
        while True:
            await self._scheduler.point("agent", ready=self._may_rate)
            self._under_way += 1
            self._consumer.process.run(self._rate(self._buffer.popleft()))

    def _may_rate(self) -> bool:
        return bool(self._buffer) and self._under_way < UNDER_WAY_MAX

    async def _rate(self, record: Record) -> None:
        await self._step.process(record)
        self._under_way -= 1

    async def _read_ahead(self) -> None:
        while True:
            await self._scheduler.point("reads", ready=lambda: len(self._buffer) < BUFFERED_MAX)
            try:
                polled = await self._consumer.poll(BUFFERED_MAX)
            except OffsetsGone as gone:
                for partition in gone.offsets:
                    self._consumer.seek(partition, 0)  # Faust begins at the earliest by itself
                continue
            self._buffer.extend(record for batch in polled.values() for record in batch)

    async def _look(self) -> None:
        """As the agent's timer; in the calm it goes off once more, when all else has ended."""
        while True:
            await self._scheduler.point("looks", ready=self._may_look)
            self._looked_last = self._scheduler.calm
            await self._step.check_sources()

    def _may_look(self) -> bool:
        return self._scheduler.chance("look") or (self._scheduler.calm and not self._looked_last)

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Faust drops what it read ahead, but for what is on its way to the agent."""
        if self._scheduler.rng.random() < 0.5:
            self._buffer.clear()

    async def assigned(self, partitions: Sequence[int]) -> None:
        """As the agent's `resume`: any exception ends the process. Records of before are still
        being rated: Faust waits for them, but not for ever."""
        self._step.keep_only(partitions)
        for partition in partitions:
            try:
                offset = await self._step.open(partition)
            except ChainBroken as broken:
                logger.error("%s", broken)
                continue
            if self._scheduler.chance("redelivery"):
                # Not past the last record: until another came, nobody would look back.
                last = self._consumer.end(partition) - 1
                offset = max(0, min(offset + self._scheduler.rng.randint(-4, 4), last))
            self._consumer.seek(partition, offset)
