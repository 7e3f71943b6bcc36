"""The contract of the catalog of metrics, in memory and from PostgreSQL: always as new as what was
answered before it was asked.
"""

import json
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.domain.catalog import Catalog
from services.domain.meter import Aggregation, BillableMetric, PropertyFilter, ValueFilter
from services.rating.catalog import CatalogSource
from services.rating.catalog_memory import MemoryCatalogSource
from services.rating.catalog_postgres import PostgresCatalogSource
from tests.contract.conftest import Loop

PLAIN = BillableMetric(UUID(int=1), "requests", Aggregation.COUNT)
RICH = BillableMetric(
    UUID(int=2),
    "bytes by region",
    Aggregation.SUM,
    "bytes",
    ValueFilter(frozenset({"transfer", "copy"}), frozenset({"copy"})),
    (
        PropertyFilter("bytes", True),
        PropertyFilter("region", None, ValueFilter(frozenset({"eu", "\u00e4"}))),
        PropertyFilter("test", False),
        PropertyFilter("tier", None, ValueFilter(None, frozenset({"free"}))),
    ),
    (("region",), ("region", "bytes")),
)


class Subject(Protocol):
    """A source and a way to change what it reads."""

    @property
    def source(self) -> CatalogSource: ...

    async def put(self, *metrics: BillableMetric) -> None:
        """Make these metrics, as one change."""
        ...

    async def archive(self, metric: BillableMetric) -> None:
        """Archive a metric, as one change."""
        ...


@dataclass
class MemorySubject:
    """The test sets the catalog."""

    source: MemoryCatalogSource = field(default_factory=lambda: MemoryCatalogSource(Catalog(0, ())))

    async def put(self, *metrics: BillableMetric) -> None:
        """See Subject."""
        held = self.source.catalog
        self.source.catalog = Catalog(held.version + 1, held.metrics + metrics)

    async def archive(self, metric: BillableMetric) -> None:
        """See Subject."""
        held = self.source.catalog
        kept = tuple(m for m in held.metrics if m != metric)
        self.source.catalog = Catalog(held.version + 1, kept)


@dataclass
class PostgresSubject:
    """Writes the rows as schemas/postgres/0001_catalog.sql describes them."""

    pool: asyncpg.Pool

    def __post_init__(self) -> None:
        self.source = PostgresCatalogSource(self.pool)

    async def put(self, *metrics: BillableMetric) -> None:
        """See Subject."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE catalog_version SET version = version + 1")
            for metric in metrics:
                await connection.execute(
                    "INSERT INTO billable_metric (id, name, aggregation_type, aggregation_key,"
                    " event_type_filter, property_filters, group_keys, created_version)"
                    " SELECT $1, $2, $3, $4, $5, $6, $7, version FROM catalog_version",
                    metric.id,
                    metric.name,
                    metric.aggregation.value,
                    metric.aggregation_key,
                    *_columns(metric),
                )

    async def archive(self, metric: BillableMetric) -> None:
        """See Subject."""
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute("UPDATE catalog_version SET version = version + 1")
            await connection.execute(
                "UPDATE billable_metric SET archived_at = now() WHERE id = $1", metric.id
            )


def _columns(metric: BillableMetric) -> tuple[str | None, str | None, str | None]:
    types = _rule(metric.event_types)
    rules = [
        {"name": rule.name, "exists": rule.exists, **_rule(rule.values)}
        for rule in metric.property_filters
    ]
    return (
        json.dumps(types) if types else None,
        json.dumps(rules) if rules else None,
        json.dumps(metric.group_keys) if metric.group_keys else None,
    )


def _rule(values: ValueFilter) -> dict[str, list[str]]:
    rule = {}
    if values.allowed is not None:
        rule["in_values"] = sorted(values.allowed)
    if values.refused:
        rule["not_in_values"] = sorted(values.refused)
    return rule


@pytest.fixture(params=["memory", "postgres"])
def subject(request: pytest.FixtureRequest, loop: Loop) -> Subject:
    if request.param == "memory":
        return MemorySubject()
    pool = request.getfixturevalue("pool")
    loop.run(pool.execute("DELETE FROM billable_metric"))
    return PostgresSubject(pool)


def test_a_catalog_without_metrics(loop: Loop, subject: Subject) -> None:
    assert loop.run(subject.source.current(None)).metrics == ()


def test_metrics_are_read_whole_and_in_the_order_they_were_made(
    loop: Loop, subject: Subject
) -> None:
    async def scenario() -> None:
        await subject.put(RICH, PLAIN)
        assert (await subject.source.current(None)).metrics == (RICH, PLAIN)

    loop.run(scenario())


def test_the_held_catalog_is_kept_while_nothing_changes(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.put(PLAIN)
        held = await subject.source.current(None)
        assert await subject.source.current(held) is held

    loop.run(scenario())


def test_every_change_is_seen_at_the_next_question(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        held = await subject.source.current(None)
        for number in range(3):
            metric = BillableMetric(uuid4(), f"m{number}", Aggregation.COUNT)
            await subject.put(metric)
            newer = await subject.source.current(held)
            assert newer.version == held.version + 1
            assert newer.metrics == (*held.metrics, metric)
            held = newer

    loop.run(scenario())


def test_an_archived_metric_counts_no_more(loop: Loop, subject: Subject) -> None:
    async def scenario() -> None:
        await subject.put(PLAIN, RICH)
        held = await subject.source.current(None)
        await subject.archive(PLAIN)
        newer = await subject.source.current(held)
        assert newer.metrics == (RICH,)
        assert newer.version > held.version

    loop.run(scenario())
