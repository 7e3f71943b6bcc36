"""The catalog of metrics from PostgreSQL: one cheap query for all batches that wait for it, and a
reload when it moved.
"""

import asyncio
import logging

import asyncpg

from services.domain.catalog import Catalog
from services.runtime.metric_rows import COLUMNS, metric
from services.runtime.postgres import DATABASE_AWAY

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class PostgresCatalogSource:
    """See `services.rating.catalog.CatalogSource`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        # The question that is on its way, and the one that will be asked after it.
        self._asked: asyncio.Task[int] | None = None
        self._next: asyncio.Task[int] | None = None

    async def current(self, held: Catalog | None) -> Catalog:
        """See CatalogSource."""
        while True:
            try:
                version = await self._version()
                if held is not None and version == held.version:
                    return held
                return await self._load()
            except DATABASE_AWAY as error:
                logger.warning("waiting for PostgreSQL to read the catalog: %r", error)
                await asyncio.sleep(RETRY_S)

    async def _version(self) -> int:
        """As it is now: an answer to a question that was on its way before may be too old, so all
        who come meanwhile share the next one."""
        if self._next is None:
            self._next = asyncio.create_task(self._ask(self._asked))
        return await asyncio.shield(self._next)

    async def _ask(self, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait([before])
        self._asked, self._next = self._next, None
        return int(await self._pool.fetchval("SELECT version FROM catalog_version"))

    async def _load(self) -> Catalog:
        # One snapshot: the version and the metrics that belong to it.
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            version = await connection.fetchval("SELECT version FROM catalog_version")
            rows = await connection.fetch(
                f"SELECT {COLUMNS} FROM billable_metric"  # noqa: S608 (a constant)
                " WHERE archived_at IS NULL ORDER BY ordinal"
            )
        catalog = Catalog(version, tuple(metric(row) for row in rows))
        logger.info("catalog version %d: %d metrics", version, len(rows))
        return catalog
