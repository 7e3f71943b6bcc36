"""The producer that the gateway's sink gets in place of aiokafka's: batches go out in order, one is
acknowledged, or given up, whether it was written or not.
"""

import asyncio
from collections import deque
from functools import partial

from aiokafka.errors import KafkaConnectionError, RequestTimedOutError

from tests.simulation.scheduler import CURRENT, Process
from tests.simulation.servers import Servers

# Events a batch, so that a request now and then needs two.
BATCH_EVENTS_MAX = 3


class SimulatedBatch:
    """See aiokafka's BatchBuilder."""

    def __init__(self) -> None:
        self.events: list[tuple[bytes, bytes]] = []

    def append(self, *, key: bytes, value: bytes, timestamp: int | None) -> object | None:
        """None when it is full."""
        if len(self.events) >= BATCH_EVENTS_MAX:
            return None
        self.events.append((key, value))
        return self

    def close(self) -> None:
        """Nothing more comes."""


class SimulatedProducer:
    """See aiokafka.AIOKafkaProducer; as much as the sink uses."""

    def __init__(self, servers: Servers, **_settings: object) -> None:
        self._servers = servers
        self._process: Process = CURRENT.get()
        self._scheduler = self._process.scheduler
        self._number = next(self._scheduler.numbers)  # tells the producers of one process apart
        self._queues: dict[int, deque[tuple[SimulatedBatch, asyncio.Future[None]]]] = {}
        self._senders: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connect."""
        await self._scheduler.read("connect", lambda: None, KafkaConnectionError)

    async def stop(self) -> None:
        """Wait for what is on its way."""
        await asyncio.gather(*self._senders)
        await self._scheduler.point("disconnect")

    async def partitions_for(self, _topic: str) -> None:
        """The metadata come with the connection."""

    def create_batch(self) -> SimulatedBatch:
        """An empty batch."""
        return SimulatedBatch()

    async def send_batch(
        self, batch: SimulatedBatch, _topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        """Put it behind those before; the future is its acknowledgement."""
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(partition, deque())
        queue.append((batch, acknowledged))
        if len(queue) == 1:
            self._senders.append(asyncio.create_task(self._send(partition, queue)))
        return acknowledged

    async def _send(
        self, partition: int, queue: deque[tuple[SimulatedBatch, asyncio.Future[None]]]
    ) -> None:
        while queue:
            batch, acknowledged = queue[0]
            try:
                await self._scheduler.call(
                    f"produce [{partition}]",
                    partial(self._write, partition, batch),
                    RequestTimedOutError,
                    order=(self._process.name, self._number, partition),
                )
            except RequestTimedOutError as error:
                if not acknowledged.done():  # nobody waits any more
                    acknowledged.set_exception(error)
            else:
                if not acknowledged.done():
                    acknowledged.set_result(None)
            queue.popleft()

    def _write(self, partition: int, batch: SimulatedBatch) -> None:
        for key, value in batch.events:
            self._servers.put_raw(partition, key, value)
