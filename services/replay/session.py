"""What a replay does, put together over the real servers. Composition and order only.

start, resume: 1. count up to the live positions; 2. price its drafts. diff: 1. level with the live
generation; 2. open a snapshot; 3. let live go on; 4. price and compare in the snapshot. promote,
rollback: 1. count up; 2. price; 3. level; 4. swap, in the transaction that holds the live one.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import asyncpg
from redis.asyncio import Redis

from services.dedup.index_redis import RedisSeenIndex
from services.projector.projection_postgres import PostgresProjection
from services.replay.build import Build
from services.replay.compare import InvoiceDifference
from services.replay.diff_postgres import Fates, differences, read_fates
from services.replay.drafts_postgres import price_generation
from services.replay.generations import Generation, GenerationError, Source, State
from services.replay.generations_postgres import PostgresGenerations
from services.replay.level import approach, level
from services.replay.progress import Progress
from services.replay.ranges import Catalogs, Ranges, UniqueRanges
from services.replay.raw import RawRanges
from services.replay.reach import check_reach
from services.runtime.log_kafka import KafkaLog, cluster_namespace
from services.runtime.partitions_kafka import check_partitions
from services.runtime.postgres import connect_pool
from services.runtime.settings import Settings

REDIS_TIMEOUT_S = 10
POOL_SIZE = 12
# Pricing a generation has statements over all customers and their plans.
STATEMENT_S_MAX = 900


@dataclass(frozen=True, slots=True)
class Comparison:
    """A generation against the live one, both at the same positions."""

    live: Generation
    replayed: Generation
    live_fates: Fates
    replayed_fates: Fates
    priced: int  # invoices that were compared
    differences: list[InvoiceDifference]


class Session:
    """One command's connections."""

    def __init__(
        self, settings: Settings, pool: asyncpg.Pool, log: KafkaLog, stack: AsyncExitStack
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._log = log
        self._stack = stack
        self.generations = PostgresGenerations(pool)

    async def start(self, source: Source, progress: Progress) -> Generation:
        """Make a generation and fill it; raises GenerationError when the log begins too late."""
        live = await self.generations.positions(await self.generations.live())
        await check_reach(self._log, source, sorted(live))
        generation = await self.generations.create(source)
        return await self.resume(generation.id, progress)

    async def resume(self, number: int, progress: Progress) -> Generation:
        """Fill a generation up to the live one and price it; raises GenerationError."""
        generation = await self._fillable(number)
        build = await self._build(generation, progress)
        await approach(self.generations, build, generation.id)
        progress.close()
        await self._price(generation.id)
        return generation

    async def diff(self, number: int, progress: Progress) -> Comparison:
        """Compare a generation with the live one; raises GenerationError."""
        generation = await self._fillable(number)
        build = await self._build(generation, progress)
        async with self._pool.acquire() as connection:
            snapshot = connection.transaction(isolation="repeatable_read")
            async with level(self.generations, build, generation.id) as held:
                await snapshot.start()
                await connection.execute("SELECT 1")  # the snapshot is taken here
            progress.close()
            try:
                comparison = await self._compare(connection, held.generation, generation)
            except BaseException:
                await snapshot.rollback()
                raise
            await snapshot.commit()
        return comparison

    async def promote(
        self, number: int, progress: Progress, *, back_from: int | None = None
    ) -> int:
        """Make a generation live; returns which one was. Raises GenerationError.

        `back_from`: this is a rollback, from that generation and from no other.
        """
        generation = await self.resume(number, progress)
        build = await self._build(generation, progress)
        async with level(self.generations, build, generation.id, promoting=True) as held:
            if back_from not in {None, held.generation}:
                raise GenerationError(
                    f"generation {held.generation} became live meanwhile; nothing was rolled back"
                )
            await held.promote(generation.id, back=back_from is not None)
        progress.close()
        await self._forget_index(generation)
        return held.generation

    async def rollback(self, progress: Progress) -> int:
        """Make live again what was live before; returns it. Raises GenerationError."""
        live = await self.generations.get(await self.generations.live())
        if live.predecessor is None:
            raise GenerationError(f"generation {live.id} is the first one; nothing was live before")
        await self.promote(live.predecessor, progress, back_from=live.id)
        return live.predecessor

    async def drop(self, number: int) -> None:
        """Delete a generation; raises GenerationError for the live one."""
        generation = await self.generations.get(number)
        await self.generations.drop(number)
        await self._forget_index(generation)

    async def _fillable(self, number: int) -> Generation:
        generation = await self.generations.get(number)
        if generation.state not in {State.BUILDING, State.RETIRED}:
            raise GenerationError(
                f"generation {number} is {generation.state.value}; only one that is being built or"
                " was retired can be counted on, compared and promoted"
            )
        return generation

    async def _build(self, generation: Generation, progress: Progress) -> Build:
        live = await self.generations.live()
        progress.aim(
            await self.generations.positions(live), await self.generations.positions(generation.id)
        )
        return Build(
            self._log,
            PostgresProjection(self._pool, generation.id),
            await self._ranges(generation),
            progress.moved,
            partition_count=self._settings.partitions,
        )

    async def _ranges(self, generation: Generation) -> Ranges:
        catalogs = Catalogs(generation, self.generations.history)
        # What was live has dedup's verdicts in it already, and goes on with them.
        if generation.source is not Source.RAW or generation.state is not State.BUILDING:
            return UniqueRanges(self._log, catalogs)
        index = await self._index(generation)
        await index.check_eviction()
        return RawRanges(self._log, index, catalogs, partition_count=self._settings.partitions)

    async def _index(self, generation: Generation) -> RedisSeenIndex:
        redis = Redis.from_url(self._settings.redis_url, socket_timeout=REDIS_TIMEOUT_S)
        self._stack.push_async_callback(redis.aclose)
        cluster = await cluster_namespace(self._settings.kafka_bootstrap_servers)
        return RedisSeenIndex(redis, f"{cluster}g{generation.id}")

    async def _forget_index(self, generation: Generation) -> None:
        """It is only needed while ranges are deduplicated; what is lost of it is judged again."""
        if generation.source is Source.RAW:
            await (await self._index(generation)).clear()

    async def _price(self, generation: int) -> None:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read"),
        ):
            await price_generation(connection, generation)

    async def _compare(
        self, connection: asyncpg.Connection, live: int, generation: Generation
    ) -> Comparison:
        priced = await price_generation(connection, generation.id)
        found = [d async for d in differences(connection, live, generation.id)]
        return Comparison(
            live=await self.generations.get(live),
            replayed=generation,
            live_fates=await read_fates(connection, live),
            replayed_fates=await read_fates(connection, generation.id),
            priced=priced,
            differences=found,
        )


@asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[Session]:
    """Connect for one command; raises WrongPartitions, and what the servers raise."""
    await check_partitions(settings.kafka_bootstrap_servers, settings.partitions)
    async with AsyncExitStack() as stack:
        pool = await connect_pool(
            settings.database_url, size_max=POOL_SIZE, command_timeout_s=STATEMENT_S_MAX
        )
        stack.push_async_callback(pool.close)
        log = KafkaLog(
            settings.kafka_bootstrap_servers,
            "tollgate-replay",
            partitions=settings.partitions,
            read_only=True,
        )
        await log.start()
        stack.push_async_callback(log.stop)
        yield Session(settings, pool, log, stack)
