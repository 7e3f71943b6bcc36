"""Conservation as the API asks for it: again and again, over a pool and a Kafka that may be away.

Connects to Kafka when it is first asked and never before: the API starts and answers without it.
"""

import asyncio
from typing import Protocol

import asyncpg
from aiokafka.errors import KafkaError

from services.runtime.conservation import Report, read_projected, report_of
from services.runtime.log import OffsetGone
from services.runtime.log_kafka import KafkaLog
from services.runtime.settings import Settings

# A look takes a fraction of a second; who asks is told soon that Kafka is away.
LOOK_TIMEOUT_S = 5.0
# aiokafka may wait for a broker that is away when it is stopped.
STOP_TIMEOUT_S = 2.0


class LogAway(Exception):
    """Kafka does not answer: nothing can be said now."""


class Reports(Protocol):
    """Where the API gets its report from."""

    async def report(self) -> Report:
        """The report as of now; raises LogAway, and what PostgreSQL raises."""
        ...


class LiveReports:
    """See Reports; on Kafka and PostgreSQL."""

    def __init__(self, pool: asyncpg.Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._log: KafkaLog | None = None
        self._looking = asyncio.Lock()  # one look at a time, however many ask

    async def report(self) -> Report:
        """See Reports."""
        async with self._looking:
            async with (
                self._pool.acquire(timeout=LOOK_TIMEOUT_S) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                generation, projected = await read_projected(connection)
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    log = await self._connected()
                    return await report_of(log, generation, projected, self._settings.partitions)
            except OffsetGone as gone:  # retention took it while it was looked at
                raise LogAway(str(gone)) from gone
            except (KafkaError, TimeoutError, OSError) as error:
                await self._disconnect()
                raise LogAway(repr(error)) from error

    async def close(self) -> None:
        """Disconnect."""
        async with self._looking:
            await self._disconnect()

    async def _connected(self) -> KafkaLog:
        if self._log is None:
            self._log = KafkaLog(
                self._settings.kafka_bootstrap_servers,
                "tollgate-api",
                partitions=self._settings.partitions,
                read_only=True,
            )
            await self._log.start()
        return self._log

    async def _disconnect(self) -> None:
        log, self._log = self._log, None
        if log is None:
            return
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await log.stop()
        except (KafkaError, TimeoutError, OSError):
            return  # it is away; its sockets end with the object
