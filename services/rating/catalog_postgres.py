"""The catalog of metrics from PostgreSQL: one cheap query a batch, a reload when it moved."""

import asyncio
import logging
from typing import Any

import asyncpg

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric, PropertyFilter, ValueFilter
from services.runtime.json import decode_json
from services.runtime.postgres import DATABASE_AWAY

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class PostgresCatalogSource:
    """See `services.rating.catalog.CatalogSource`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def current(self, held: Catalog | None) -> Catalog:
        """See CatalogSource."""
        while True:
            try:
                version = await self._pool.fetchval("SELECT version FROM catalog_version")
                if held is not None and version == held.version:
                    return held
                return await self._load()
            except DATABASE_AWAY as error:
                logger.warning("waiting for PostgreSQL to read the catalog: %r", error)
                await asyncio.sleep(RETRY_S)

    async def _load(self) -> Catalog:
        # One snapshot: the version and the metrics that belong to it.
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            version = await connection.fetchval("SELECT version FROM catalog_version")
            rows = await connection.fetch(
                "SELECT id, name, aggregation_type, aggregation_key, event_type_filter,"
                " property_filters, group_keys FROM billable_metric"
                " WHERE archived_at IS NULL ORDER BY ordinal"
            )
        catalog = Catalog(version, tuple(_metric(row) for row in rows))
        logger.info("catalog version %d: %d metrics", version, len(rows))
        return catalog


def _metric(row: asyncpg.Record) -> BillableMetric:
    return BillableMetric(
        id=row["id"],
        name=row["name"],
        aggregation=Aggregation(row["aggregation_type"]),
        aggregation_key=row["aggregation_key"],
        event_types=_values(_json(row["event_type_filter"]) or {}),
        property_filters=tuple(
            PropertyFilter(rule["name"], rule.get("exists"), _values(rule))
            for rule in _json(row["property_filters"]) or ()
        ),
        group_keys=tuple(tuple(key) for key in _json(row["group_keys"]) or ()),
    )


def _json(text: str | None) -> Any:
    return None if text is None else decode_json(text)


def _values(rule: dict[str, Any]) -> ValueFilter:
    allowed, refused = rule.get("in_values"), rule.get("not_in_values")
    return ValueFilter(None if allowed is None else frozenset(allowed), frozenset(refused or ()))
