"""Records that others put on usage.raw: not JSON, no events, under a wrong key or partition; and
events that were answered 200 before, as they were and with other content. None may count, none may
stop a stage, and each that is no event is to be found in rejected_event once Kafka took it.
"""

import asyncio
import json
import random
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from services.domain.partition import partition_of
from services.runtime.log import RAW

EVERY_S = 1.0
PARTITIONS = 8


@dataclass
class Junk:
    """Writes one record a second, straight to Kafka."""

    bootstrap_servers: str
    name: str
    random: random.Random
    accepted: deque[tuple[str, bytes]]  # batches answered 200, with their bodies
    written: list[bytes] = field(default_factory=list)  # keys of what Kafka acknowledged

    async def run(self, stopping: asyncio.Event) -> None:
        """Write until told to stop; what Kafka does not take is given up."""
        made = 0
        while not stopping.is_set():
            producer = AIOKafkaProducer(
                bootstrap_servers=self.bootstrap_servers, enable_idempotence=True
            )
            with suppress(KafkaError):
                await producer.start()
                while not stopping.is_set():
                    made += 1
                    await self._write(producer, f"{self.name}-junk-{made}")
                    if self.accepted:
                        await self._repeat(producer, *self.random.choice(self.accepted))
                    await asyncio.sleep(EVERY_S)
            with suppress(KafkaError):
                await producer.stop()
            await asyncio.sleep(0.2)

    async def _write(self, producer: AIOKafkaProducer, name: str) -> None:
        partition, key = partition_of(name, PARTITIONS), name.encode()
        event = {
            "transaction_id": name,
            "customer_id": "nobody",
            "event_type": "junk",
            "timestamp": "2026-01-01T00:00:00Z",
            "properties": {},
        }
        value: bytes | None = json.dumps(event).encode()
        kind = self.random.randrange(6)
        if kind == 0:
            value = b"\x00\xffno JSON at all {"
        elif kind == 1:
            value = None
        elif kind == 2:
            value = json.dumps({**event, "timestamp": "yesterday"}).encode()
        elif kind == 3:
            partition = (partition + 1) % PARTITIONS
        elif kind == 4:
            value = json.dumps({**event, "transaction_id": f"{name}-other"}).encode()
        else:
            value = b"[" * 200_000
        await producer.send_and_wait(RAW, value, key=key, partition=partition)
        self.written.append(key)

    async def _repeat(self, producer: AIOKafkaProducer, batch: str, body: bytes) -> None:
        """An event that counts already: the same again, or as one of a group never sent."""
        event = self.random.choice(json.loads(body))
        if self.random.random() < 0.5:
            event["properties"]["region"] = f"{batch}-foreign"
        key = event["transaction_id"]
        partition = partition_of(key, PARTITIONS)
        value = json.dumps(event).encode()
        await producer.send_and_wait(RAW, value, key=key.encode(), partition=partition)

    async def missing(self, database_url: str) -> list[str]:
        """What Kafka took and rejected_event does not have."""
        connection = await asyncpg.connect(database_url)
        try:
            rows = await connection.fetch(
                "SELECT record_key FROM rejected_event WHERE record_key = ANY($1::bytea[])",
                self.written,
            )
        finally:
            await connection.close()
        found = {bytes(row["record_key"]) for row in rows}
        return sorted(key.decode() for key in self.written if key not in found)
