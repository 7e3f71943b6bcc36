"""usage.raw on Kafka: requests that arrive together share batches; acks=all, idempotent.

One open batch a partition. The first event put into an empty one starts a short linger; a full
batch goes at once. A failed batch retires its producer: an idempotent producer that gave a batch
up cannot go on in that partition. What a retired one still writes late is a duplicate at worst.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from services.domain.partition import partition_of
from services.gateway.sink import Unavailable
from services.runtime.failpoint import reach
from services.runtime.log import RAW

logger = logging.getLogger(__name__)

# A lone event waits this long for company; under load batches fill before.
LINGER_S = 0.002
# Under the topic's max.message.bytes (1 MiB), and one event of 256 KiB always fits.
BATCH_BYTES_MAX = 768 * 1024
# The client gets a 503 after this long without an acknowledgement. aiokafka has no such limit: an
# idempotent producer of its kind tries again for ever.
ACK_TIMEOUT_MS = 8_000


class _Batch:
    """An open batch and the future that all requests with events in it wait for."""

    def __init__(self, builder: BatchBuilder) -> None:
        self.builder = builder
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class KafkaEventSink:
    """See `services.gateway.sink.EventSink`."""

    def __init__(self, bootstrap_servers: str, partition_count: int) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._partition_count = partition_count
        self._producer: AIOKafkaProducer | None = None
        self._open: dict[int, _Batch] = {}
        self._sending: set[asyncio.Task[None]] = set()
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
        for partition in list(self._open):
            self._flush(partition)
        if self._sending:
            await asyncio.wait(set(self._sending))
        if self._connector is not None:
            self._connector.cancel()
            await asyncio.gather(self._connector, return_exceptions=True)
        if self._producer is not None:
            await _stopped(self._producer)
        await asyncio.gather(*self._closing)

    async def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """See EventSink."""
        producer = self._producer
        if producer is None:
            raise Unavailable("Kafka does not answer")
        waits: set[asyncio.Future[None]] = set()
        for transaction_id, content in events:
            partition = partition_of(transaction_id, self._partition_count)
            waits.add(self._append(producer, partition, transaction_id.encode(), content))
        del events  # the batches have them now, and Kafka may take long
        results = await asyncio.gather(*waits, return_exceptions=True)
        for failure in results:
            if failure is not None:
                raise Unavailable(f"Kafka did not acknowledge: {failure!r}")

    def _append(
        self, producer: AIOKafkaProducer, partition: int, key: bytes, content: bytes
    ) -> asyncio.Future[None]:
        batch = self._open.get(partition)
        if batch is not None:
            if batch.builder.append(key=key, value=content, timestamp=None) is not None:
                return batch.done
            self._flush(partition)
        batch = self._open[partition] = _Batch(producer.create_batch())
        placed = batch.builder.append(key=key, value=content, timestamp=None)
        assert placed is not None, f"an event of {len(content)} bytes does not fit a batch"
        asyncio.get_running_loop().call_later(LINGER_S, self._flush_if, partition, batch)
        return batch.done

    def _flush_if(self, partition: int, batch: _Batch) -> None:
        if self._open.get(partition) is batch:
            self._flush(partition)

    def _flush(self, partition: int) -> None:
        batch = self._open.pop(partition)
        task = asyncio.create_task(self._send(partition, batch, self._producer))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, partition: int, batch: _Batch, producer: AIOKafkaProducer | None) -> None:
        batch.builder.close()
        try:
            if producer is None:
                raise Unavailable("Kafka went away")
            reach("before_send")
            # Giving up cancels what aiokafka waits for too, so that stopping it comes to an end.
            async with asyncio.timeout(ACK_TIMEOUT_MS / 1000):
                await (await producer.send_batch(batch.builder, RAW, partition=partition))
            reach("after_send")
        except (KafkaError, TimeoutError, Unavailable) as error:
            if not batch.done.done():
                batch.done.set_exception(error)
                batch.done.exception()  # requests may have gone; that is no news
            self._retire(producer, error)
        else:
            if not batch.done.done():
                batch.done.set_result(None)

    def _retire(self, producer: AIOKafkaProducer | None, error: Exception) -> None:
        if producer is None or producer is not self._producer:
            return
        logger.warning("Kafka gave up a batch (%r); 503 until a new producer connects", error)
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
