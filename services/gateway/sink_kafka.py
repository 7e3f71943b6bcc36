"""usage.raw on Kafka: requests that arrive together share batches; acks=all, idempotent.

The open batches of all partitions go out together, as one flush, and one flush at a time: while
Kafka is busy with one, the next grows. So the cost of a flush, some 0.3 ms here and as much in
Kafka, is shared by more events the more there are. A failed flush retires its producer: an
idempotent producer that gave a batch up cannot go on in that partition. What a retired one still
writes late is a duplicate at worst.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.gateway.flush import Flush
from services.gateway.sink import Unavailable
from services.runtime.failpoint import reach
from services.runtime.log import RAW

logger = logging.getLogger(__name__)

# A lone event waits this long for company; the longest wait is for those who come after a flush
# of EVENTS_BUSY, who will have company.
LINGER_S_MIN = 0.001
LINGER_S_MAX = 0.010
EVENTS_BUSY = 300
# So many share a flush's cost well enough: they do not wait for more.
EVENTS_ENOUGH = 500
# Under the topic's max.message.bytes (1 MiB), and one event of 256 KiB always fits.
BATCH_BYTES_MAX = 768 * 1024
# The client gets a 503 after this long without an acknowledgement. aiokafka has no such limit: an
# idempotent producer of its kind tries again for ever.
ACK_TIMEOUT_MS = 8_000


class KafkaEventSink:
    """See `services.gateway.sink.EventSink`."""

    def __init__(self, bootstrap_servers: str, partition_count: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._partition_count = partition_count
        self._producer: AIOKafkaProducer | None = None
        self._full: deque[Flush] = deque()
        self._open: Flush | None = None
        self._sender: asyncio.Task[None] | None = None
        self._events_before = 0  # in the flush sent last
        self._closing: set[asyncio.Task[None]] = set()
        self._connector: asyncio.Task[None] | None = None

    async def check(self) -> None:
        """Raises Unavailable unless a producer is connected; for readiness."""
        if self._producer is None:
            raise Unavailable("Kafka does not answer")

    async def start(self) -> None:
        """Begin to connect; events are refused until a broker answers."""
        self._reconnect()

    async def stop(self) -> None:
        """Send what is open, wait for the acknowledgements, disconnect."""
        if self._open is not None:
            self._on_due(self._open)
        if self._sender is not None:
            await asyncio.wait((self._sender,))
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)
        if self._producer is not None:
            await _stopped(self._producer)
        await asyncio.gather(*self._closing)

    async def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """See EventSink."""
        if self._producer is None:
            raise Unavailable("Kafka does not answer")
        if not events:
            return
        waits = self._append(self._producer, events)
        del events  # the batches have them now, and Kafka may take long
        for wait in waits:
            failure = await wait
            if failure is not None:
                raise Unavailable(f"Kafka did not acknowledge: {failure!r}")

    def _append(
        self, producer: AIOKafkaProducer, events: Sequence[tuple[str, bytes]]
    ) -> list[asyncio.Future[Exception | None]]:
        flush = self._open or self._begin(producer)
        waits = [flush.ended()]
        coming = iter(events)
        while (left := flush.take(coming)) is not None:
            self._open = None
            self._full.append(flush)
            flush = self._begin(producer)
            waits.append(flush.ended())
            coming = chain((left,), coming)
        flush.events += len(events)
        if self._full or flush.events >= EVENTS_ENOUGH:
            self._on_due(flush)
        return waits

    def _begin(self, producer: AIOKafkaProducer) -> Flush:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + ACK_TIMEOUT_MS / 1000
        self._open = Flush(producer.create_batch, self._partition_count, end_s)
        busy = min(1, self._events_before / EVENTS_BUSY)
        linger_s = LINGER_S_MIN + busy * (LINGER_S_MAX - LINGER_S_MIN)
        loop.call_later(linger_s, self._on_due, self._open)
        return self._open

    def _on_due(self, flush: Flush) -> None:
        """It need not wait for more events, only for the flush before it."""
        flush.due = True
        if self._sender is None and (self._full or self._open is flush):
            self._sender = asyncio.create_task(self._send_due())
            self._sender.add_done_callback(self._sent)

    def _sent(self, _sender: asyncio.Task[None]) -> None:
        self._sender = None
        if self._open is not None and self._open.due:
            self._on_due(self._open)

    async def _send_due(self) -> None:
        while (flush := self._next()) is not None:
            await self._send(flush, self._producer)

    def _next(self) -> Flush | None:
        if self._full:
            return self._full.popleft()
        flush = self._open
        if flush is None or not flush.due:
            return None
        self._open = None
        return flush

    async def _send(self, flush: Flush, producer: AIOKafkaProducer) -> None:
        self._events_before = flush.events
        acknowledged: list[asyncio.Future[object]] = []
        try:
            reach("before_send")
            async with asyncio.timeout_at(flush.end_s):
                for partition, batch in flush.batches.items():
                    batch.close()
                    acknowledged.append(await producer.send_batch(batch, RAW, partition=partition))
                for each in acknowledged:
                    await each
            reach("after_send")
        except (KafkaError, TimeoutError) as error:
            self._give_up(flush, producer, acknowledged, error)
        except Exception as fault:  # our own; but nobody waits for ever because of it
            self._give_up(flush, producer, acknowledged, fault)
            raise
        else:
            flush.end(None)

    def _give_up(
        self,
        flush: Flush,
        producer: AIOKafkaProducer,
        acknowledged: list[asyncio.Future[object]],
        failure: Exception,
    ) -> None:
        for each in acknowledged:
            each.cancel()  # nobody asks for what else failed
        flush.end(failure)
        self._retire(producer, failure)

    def _retire(self, producer: AIOKafkaProducer, failure: Exception) -> None:
        logger.warning("Kafka gave up a batch (%r); 503 until a new producer connects", failure)
        for waiting in (*self._full, self._open):
            if waiting is not None:
                waiting.end(Unavailable("Kafka went away"))
        self._full.clear()
        self._open = None
        self._producer = None
        self._close(producer)
        self._reconnect()

    def _close(self, old: AIOKafkaProducer) -> None:
        """Beside the new connection: this takes until the last of its batches is given up."""
        closing = asyncio.create_task(_stopped(old))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _reconnect(self) -> None:
        self._connector = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        while True:
            producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap_servers,
                client_id="tollgate-gateway",
                acks="all",
                enable_idempotence=True,
                max_batch_size=BATCH_BYTES_MAX,
                max_request_size=8 * BATCH_BYTES_MAX,
                request_timeout_ms=ACK_TIMEOUT_MS,
            )
            try:
                await producer.start()
                await producer.partitions_for(RAW)
            except (KafkaError, OSError) as error:
                logger.warning("Kafka does not answer yet: %r", error)
                await _stopped(producer)
                await asyncio.sleep(0.5)
                continue
            self._producer = producer
            logger.info("connected to Kafka")
            return


async def _stopped(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError):
        await producer.stop()
