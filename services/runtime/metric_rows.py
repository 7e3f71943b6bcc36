"""Billable metrics as PostgreSQL holds them: which were in force when, and a row as the domain's
metric. Reads only; decides nothing about events.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric, PropertyFilter, ValueFilter
from services.runtime.json import decode_json

COLUMNS = (
    "id, name, aggregation_type, aggregation_key, event_type_filter, property_filters, group_keys"
)

_HISTORY = f"""
SELECT {COLUMNS}, created_version, (SELECT min(a.version) FROM catalog_audit a
    WHERE a.entity_id = m.id AND a.action = 'billable_metric.archive') AS archived_version
FROM billable_metric m ORDER BY ordinal
"""  # noqa: S608 (constants)


# Catalogs kept ready; ranges come in the order of their versions, so older ones are done with.
KNOWN_MAX = 100


@dataclass(frozen=True, slots=True)
class DatedMetric:
    """A metric with the versions of the catalog that made and archived it."""

    metric: BillableMetric
    created_version: int
    archived_version: int | None


class CatalogHistory:
    """The metrics in force for any range of the log, as of one version of the catalog."""

    def __init__(self, version: int, metrics: Sequence[DatedMetric]) -> None:
        self.version = version
        self._metrics = metrics
        self._known: dict[tuple[int, int], Catalog] = {}

    def in_force(self, rated_version: int, floor: int) -> Catalog:
        """What counts a range that was rated live under `rated_version`, in a generation that
        counts nothing under an older catalog than `floor` (0: as it was counted live).

        A metric made later counts what came before it; one that was archived still counts what
        was rated before that. Both versions must be at most `self.version`.
        """
        created = max(rated_version, floor)
        assert created <= self.version, f"version {created} is newer than this history"
        if len(self._known) > KNOWN_MAX:
            self._known.clear()
        catalog = self._known.get((rated_version, created))
        if catalog is None:
            catalog = self._known[rated_version, created] = Catalog(
                created,
                tuple(
                    dated.metric
                    for dated in self._metrics
                    if dated.created_version <= created
                    and (dated.archived_version is None or dated.archived_version > rated_version)
                ),
            )
        return catalog


async def read_history(connection: asyncpg.Connection) -> CatalogHistory:
    """The history as it is now; version and metrics of one snapshot when the caller's transaction
    is REPEATABLE READ."""
    version = await connection.fetchval("SELECT version FROM catalog_version")
    rows = await connection.fetch(_HISTORY)
    return CatalogHistory(
        version,
        [DatedMetric(metric(row), row["created_version"], row["archived_version"]) for row in rows],
    )


def metric(row: asyncpg.Record) -> BillableMetric:
    """A row with COLUMNS as the domain's metric."""
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
