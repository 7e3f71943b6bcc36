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

# A look takes a fraction of a second; who asks is told soon that a server is away.
LOOK_TIMEOUT_S = 5.0
# To give a look up can take longer, of a PostgreSQL that does not even answer that; nobody who asks
# waits for it.
ANSWER_TIMEOUT_S = 10.0
# aiokafka may wait for a broker that is away when it is stopped.
STOP_TIMEOUT_S = 2.0


class LogAway(Exception):
    """Kafka does not answer: nothing can be said now."""


class Reports(Protocol):
    """Where the API gets its report from."""

    async def report(self) -> Report:
        """The report as of now, or of a look that was under way; raises LogAway, and what
        PostgreSQL raises, within ANSWER_TIMEOUT_S."""
        ...


class LiveReports:
    """See Reports; on Kafka and PostgreSQL.

    Rows of rejected and conflicting events are not counted here: that takes longer the more there
    are, and this is asked every few seconds. The command `verify` counts them.
    """

    def __init__(self, pool: asyncpg.Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._log: KafkaLog | None = None
        # One look at a time: who asks meanwhile gets what it finds, so however many ask, and
        # however slow the servers are, they do not queue.
        self._look: asyncio.Task[Report] | None = None

    async def report(self) -> Report:
        """See Reports."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._looked())
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            return await asyncio.shield(self._look)  # others may wait for it too

    async def _looked(self) -> Report:
        until = asyncio.get_running_loop().time() + LOOK_TIMEOUT_S
        async with (
            asyncio.timeout_at(until),
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            generation, projected = await read_projected(connection, with_rows=False)
        try:
            async with asyncio.timeout_at(until):
                log = await self._connected()
                return await report_of(log, generation, projected, self._settings.partitions)
        except OffsetGone as gone:  # retention took it while it was looked at
            raise LogAway(str(gone)) from gone
        except (KafkaError, TimeoutError, OSError) as error:
            await self._disconnect()
            raise LogAway(repr(error)) from error

    async def close(self) -> None:
        """Disconnect."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})
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
