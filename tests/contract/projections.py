"""Reading back what a projection holds, from memory and from PostgreSQL."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import asyncpg

from services.domain.aggregate import Aggregate, AggregateKey, Latest, hour_of
from services.projector.projection import Advance, Flush, Position, Projection
from services.projector.projection_memory import MemoryProjection
from services.projector.projection_postgres import PostgresProjection
from services.runtime.records import RatedConflict, RatedRejection, instant_of

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
TABLES = (
    "projection_position, usage_series, usage_hour, usage_month, usage_distinct,"
    " usage_distinct_month, rejected_event, conflicting_event, stale_draft"
)
Fates = tuple[int, int, int, int, int]
# (partition, raw offset, metric id or None, reason, detail, key, value)
Rejected = tuple[int, int, Any, str, str, bytes | None, bytes | None]
# (partition, raw offset, first offset, transaction_id, ingested at)
Conflicting = tuple[int, int, int, str, datetime]


class Reader(Protocol):
    """Looks at a projection from the outside."""

    async def aggregates(self) -> dict[AggregateKey, Aggregate]:
        """Everything counted, by hour."""
        ...

    async def fates(self, partition: int) -> Fates:
        """Counted, duplicates, conflicts, rejected, unmatched."""
        ...

    async def rejections(self) -> list[Rejected]:
        """The dead letters, in order."""
        ...

    async def conflicts(self) -> list[Conflicting]:
        """The conflicts, in order."""
        ...


@dataclass
class MemoryReader:
    """Reads MemoryProjection."""

    projection: MemoryProjection

    async def aggregates(self) -> dict[AggregateKey, Aggregate]:
        """See Reader."""
        return self.projection.aggregates

    async def fates(self, partition: int) -> Fates:
        """See Reader."""
        held = self.projection.fates[partition]
        return (held.counted, held.duplicates, held.conflicts, held.rejected, held.unmatched)

    async def rejections(self) -> list[Rejected]:
        """See Reader."""
        return [
            (partition, r.offset, r.metric_id, r.reason, r.detail, r.key, r.value)
            for partition, _, r in self.projection.rejections
        ]

    async def conflicts(self) -> list[Conflicting]:
        """See Reader."""
        return [
            (p, c.offset, c.first_offset, c.transaction_id, instant_of(c.ingested_at_ms))
            for (p, _), c in sorted(self.projection.conflicts.items())
        ]


@dataclass
class PostgresReader:
    """Reads the tables of schemas/postgres/0002_projection.sql."""

    pool: asyncpg.Pool

    async def aggregates(self) -> dict[AggregateKey, Aggregate]:
        """See Reader."""
        return await self.table("usage_hour")

    async def table(self, name: str) -> dict[AggregateKey, Aggregate]:
        """The aggregates of usage_hour or usage_month, by the start of the hour or month."""
        rows = await self.pool.fetch(
            "SELECT s.reference, s.metric_id, s.group_values, u.*,"
            " array(SELECT d.value FROM usage_distinct d WHERE d.series_id = u.series_id"
            " AND d.starts_at = u.starts_at) AS distinct_values"
            f" FROM {name} u JOIN usage_series s ON s.id = u.series_id"
        )
        return {_key(row): _aggregate(row) for row in rows}

    async def fates(self, partition: int) -> Fates:
        """See Reader."""
        row = await self.pool.fetchrow(
            "SELECT counted, duplicates, conflicts, rejected, unmatched FROM projection_position"
            " WHERE partition = $1",
            partition,
        )
        return (row[0], row[1], row[2], row[3], row[4])

    async def rejections(self) -> list[Rejected]:
        """See Reader."""
        rows = await self.pool.fetch(
            "SELECT partition, raw_offset, metric_id, reason, detail, record_key, record_value"
            " FROM rejected_event ORDER BY partition, raw_offset, metric_id"
        )
        return [(r[0], r[1], r[2] if r[2].int else None, r[3], r[4], r[5], r[6]) for r in rows]

    async def conflicts(self) -> list[Conflicting]:
        """See Reader."""
        rows = await self.pool.fetch(
            "SELECT partition, raw_offset, first_offset, transaction_id, ingested_at"
            " FROM conflicting_event ORDER BY partition, raw_offset"
        )
        return [(r[0], r[1], r[2], r[3], r[4]) for r in rows]


def _key(row: asyncpg.Record) -> AggregateKey:
    group = tuple(json.loads(row["group_values"]))
    return AggregateKey(row["reference"], row["metric_id"], group, hour_of(row["starts_at"]))


def _aggregate(row: asyncpg.Record) -> Aggregate:
    latest = None
    if row["latest_at"] is not None:
        latest = Latest(
            row["latest_at"], row["latest_partition"], row["latest_offset"], row["latest"]
        )
    distinct = set(row["distinct_values"])
    return Aggregate(row["count"], row["total"], row["peak"], latest, distinct)


@dataclass
class Subject:
    """An empty projection and the position of each partition as its projector knows it."""

    projection: Projection
    read: Reader
    positions: dict[int, Position] = field(default_factory=dict)

    def flush(
        self,
        aggregates: dict[AggregateKey, Aggregate] | None = None,
        rejections: list[tuple[int, int, RatedRejection]] | None = None,
        conflicting: list[tuple[int, RatedConflict]] | None = None,
        **fates: int,
    ) -> Flush:
        """A flush of one range of partition 0, all of it counted unless told otherwise."""
        return Flush(
            {0: self.advance(0, **(fates or {"counted": 1}))},
            aggregates or {},
            rejections or [],
            conflicting or [],
        )

    def advance(self, partition: int, **fates: int) -> Advance:
        """The next range of a partition, as long as its fates add up to."""
        position = self.positions.get(partition)
        first = 0 if position is None else position.next_raw
        size = sum(fates.get(name, 0) for name in ("counted", "duplicates", "rejected"))
        return Advance(
            expected=position,
            first_raw=first,
            next_raw=first + size,
            next_rated=0 if position is None else position.next_rated + 1,
            ingested_to=AT,
            catalog_version=1,
            **fates,
        )

    async def apply(self, flush: Flush) -> None:
        """Apply, and remember the positions when it went well."""
        await self.projection.apply(flush)
        for partition, advance in flush.advances.items():
            self.positions[partition] = Position(advance.next_raw, advance.next_rated)


def in_memory() -> Subject:
    """An empty projection in memory."""
    projection = MemoryProjection()
    return Subject(projection, MemoryReader(projection))


async def in_postgres(pool: asyncpg.Pool) -> Subject:
    """The projection in this database, emptied."""
    await pool.execute(f"TRUNCATE {TABLES}")
    return Subject(PostgresProjection(pool), PostgresReader(pool))
