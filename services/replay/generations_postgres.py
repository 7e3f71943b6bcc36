"""Generations in PostgreSQL. The swap is one transaction that holds the live one alone; the
projector and the pricing step share it. Never touches a finalized invoice.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import asyncpg

from services.projector.live_postgres import hold_live
from services.projector.projection import Position
from services.replay.generations import Generation, GenerationError, Source, State
from services.runtime.metric_rows import CatalogHistory, read_history

_GENERATIONS = """
SELECT id, state, source, catalog_version, created_at, promoted_at, predecessor FROM generation
WHERE $1::int IS NULL OR id = $1 ORDER BY id
"""
_POSITIONS = """
SELECT partition, next_raw_offset, next_rated_offset FROM projection_position WHERE generation = $1
"""
_UNEVEN = """
SELECT count(*) FROM (SELECT * FROM projection_position WHERE generation = $1) live
FULL JOIN (SELECT * FROM projection_position WHERE generation = $2) next USING (partition)
WHERE (live.next_raw_offset, live.next_rated_offset)
    IS DISTINCT FROM (next.next_raw_offset, next.next_rated_offset)
"""
# The drafts keep their ids: for a client it is the same invoice with other lines.
_OTHER_DRAFTS = """
SELECT i.id FROM invoice i JOIN generation_draft d
    ON i.customer_plan_id = d.customer_plan_id AND i.starts_at = d.starts_at
WHERE d.generation = $1 AND i.ends_at = d.ends_at AND i.status = 'DRAFT'
  AND i.document IS DISTINCT FROM d.document LIMIT $2
"""
_SHOW_DRAFTS = """
UPDATE invoice i SET document = d.document, catalog_version = d.catalog_version, as_of = d.as_of,
    priced_at = now()
FROM generation_draft d
WHERE d.generation = $1 AND i.customer_plan_id = d.customer_plan_id AND i.starts_at = d.starts_at
  AND i.ends_at = d.ends_at AND i.status = 'DRAFT' AND i.id = ANY($2)
"""
# Whatever was counted, or changed in the catalog, since those drafts were priced.
_MARK_ALL = """
INSERT INTO stale_draft (customer_id, month)
SELECT DISTINCT customer_id, date_trunc('month', starts_at, 'UTC')::date FROM (
    SELECT customer_id, starts_at FROM invoice WHERE status = 'DRAFT'
    UNION ALL SELECT customer_id, starts_at FROM generation_draft WHERE generation = $1) AS either
"""
_RETIRE = "UPDATE generation SET state = 'RETIRED' WHERE id = $1"
_ENTHRONE = """
UPDATE generation SET state = 'LIVE', promoted_at = now(),
    predecessor = CASE WHEN $3 THEN predecessor ELSE $2 END
WHERE id = $1
"""

# PostgreSQL itself ends a holder that says nothing for so long: one that was stopped, or whose
# machine is gone. Beyond the limit that a living one keeps (services/replay/level.py).
IDLE_HELD = "30s"
# Drafts that a promotion rewrites itself, about a second's work; more are shown by the pricing, in
# the moments after it.
SHOWN_DRAFTS_MAX = 10_000
# Series and rows a transaction when a generation is dropped: locks and log stay small.
_DROP_SERIES = 2_000
_DROP_ROWS = 20_000
_BY_SERIES = ("usage_hour", "usage_month", "usage_distinct", "usage_distinct_month")
_BY_GENERATION = ("rejected_event", "conflicting_event", "generation_draft")


class PostgresGenerations:
    """See `services.replay.generations.Generations`."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def create(self, source: Source) -> Generation:
        """See Generations."""
        generation: int = await self._pool.fetchval(
            "INSERT INTO generation (state, source, catalog_version)"
            " SELECT 'BUILDING', $1, version FROM catalog_version RETURNING id",
            source.value,
        )
        return await self.get(generation)

    async def get(self, generation: int) -> Generation:
        """See Generations."""
        found = await self._fetch(generation)
        if not found:
            raise GenerationError(
                f"there is no generation {generation}; `tollgate replay status` lists them"
            )
        return found[0]

    async def all(self) -> list[Generation]:
        """See Generations."""
        return await self._fetch(None)

    async def _fetch(self, generation: int | None) -> list[Generation]:
        rows = await self._pool.fetch(_GENERATIONS, generation)
        return [Generation(row[0], State(row[1]), Source(row[2]), *tuple(row)[3:]) for row in rows]

    async def live(self) -> int:
        """See Generations."""
        return int(await self._pool.fetchval("SELECT generation FROM live_generation"))

    async def positions(self, generation: int) -> Mapping[int, Position]:
        """See Generations."""
        return _positions(await self._pool.fetch(_POSITIONS, generation))

    async def history(self) -> CatalogHistory:
        """See Generations."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            return await read_history(connection)

    @asynccontextmanager
    async def hold_live(self) -> AsyncIterator["_HeldLive"]:
        """See Generations."""
        async with self._pool.acquire() as connection, connection.transaction():
            # A replay that hangs, or whose machine is gone, must not hold live counting for ever.
            await connection.execute(
                f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_HELD}'"
            )
            live = await hold_live(connection)
            rows = await connection.fetch(_POSITIONS, live)
            yield _HeldLive(connection, live, _positions(rows))

    async def drop(self, generation: int) -> None:
        """See Generations."""
        await self.get(generation)
        async with self._pool.acquire() as connection, connection.transaction():
            # From here on nothing can be added to it, and it cannot be promoted.
            dropped = await connection.execute(
                "UPDATE generation SET state = 'DROPPED' WHERE id = $1 AND state <> 'LIVE'",
                generation,
            )
            if dropped != "UPDATE 1":
                raise GenerationError(f"generation {generation} is live and cannot be dropped")
            await connection.execute(
                "DELETE FROM projection_position WHERE generation = $1", generation
            )
        for table in _BY_GENERATION:
            while await self._drop_rows(table, generation):
                pass
        while await self._drop_series(generation):
            pass

    async def _drop_rows(self, table: str, generation: int) -> bool:
        deleted = await self._pool.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY("  # noqa: S608 (constants)
            f"SELECT ctid FROM {table} WHERE generation = $1 LIMIT $2))",
            generation,
            _DROP_ROWS,
        )
        return bool(deleted != "DELETE 0")

    async def _drop_series(self, generation: int) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                "SELECT id FROM usage_series WHERE generation = $1 ORDER BY id LIMIT $2",
                generation,
                _DROP_SERIES,
            )
            series = [row["id"] for row in rows]
            for table in _BY_SERIES:
                await connection.execute(f"DELETE FROM {table} WHERE series_id = ANY($1)", series)  # noqa: S608 (constants)
            await connection.execute("DELETE FROM usage_series WHERE id = ANY($1)", series)
        return len(series)


class _HeldLive:
    """See `services.replay.generations.HeldLive`."""

    def __init__(
        self, connection: asyncpg.Connection, generation: int, positions: Mapping[int, Position]
    ) -> None:
        self._connection = connection
        self.generation = generation
        self.positions = positions

    async def promote(self, generation: int, *, back: bool) -> None:
        """See HeldLive."""
        connection = self._connection
        state = await connection.fetchval(
            "SELECT state FROM generation WHERE id = $1 FOR UPDATE", generation
        )
        if state not in {State.BUILDING, State.RETIRED}:
            raise GenerationError(f"generation {generation} is {state}; it cannot become live")
        uneven = await connection.fetchval(_UNEVEN, self.generation, generation)
        if uneven:
            raise GenerationError(
                f"generation {generation} stands elsewhere than the live one in {uneven}"
                f" partitions; `tollgate replay resume {generation}` catches up"
            )
        others = await connection.fetch(_OTHER_DRAFTS, generation, SHOWN_DRAFTS_MAX)
        await connection.execute(_SHOW_DRAFTS, generation, [row["id"] for row in others])
        await connection.execute(_MARK_ALL, generation)
        await connection.execute(_RETIRE, self.generation)
        await connection.execute(_ENTHRONE, generation, self.generation, back)
        await connection.execute("UPDATE live_generation SET generation = $1", generation)


def _positions(rows: list[asyncpg.Record]) -> dict[int, Position]:
    return {row[0]: Position(row[1], row[2]) for row in rows}
