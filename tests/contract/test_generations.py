"""The contract of generations, in memory and in PostgreSQL: made, filled, promoted, rolled back and
dropped; live counting waits while it is held, and goes on in the generation that is live then.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg
import pytest

from services.domain.aggregate import Aggregate, AggregateKey
from services.projector import projection_postgres
from services.projector.live_postgres import share_live
from services.projector.projection import Flush, GenerationDropped, Projection
from services.projector.projection_postgres import PostgresProjection
from services.replay.generations import GenerationError, Generations, Source, State
from services.replay.generations_memory import MemoryGenerationProjection, MemoryGenerations
from services.replay.generations_postgres import PostgresGenerations
from services.runtime.metric_rows import CatalogHistory
from tests.contract.conftest import Loop
from tests.contract.projections import TABLES, MemoryReader, PostgresReader, Reader, Subject
from tests.pipeline.harness import BYTES

KEY = AggregateKey("acme", BYTES, (), 494_000)


@dataclass
class Store:
    """Generations, with a projection of each."""

    generations: Generations
    projection: Callable[[int | None], Projection]
    reader: Reader

    def subject(self, generation: int | None = None) -> Subject:
        """What writes one generation, or the live one."""
        return Subject(self.projection(generation), self.reader)

    async def swap(self, generation: int, *, back: bool = False) -> None:
        """Promote."""
        async with self.generations.hold_live() as held:
            await held.promote(generation, back=back)


def one_event(subject: Subject) -> Flush:
    """The next flush, of one event."""
    return subject.flush({KEY: Aggregate(count=1)})


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest, loop: Loop) -> Store:
    """Empty, with generation 0 live."""
    if request.param == "memory":
        memory = MemoryGenerations(lambda: CatalogHistory(7, ()))
        return Store(
            memory,
            lambda number: MemoryGenerationProjection(memory, number),
            MemoryReader(memory.projections[0]),
        )
    pool: asyncpg.Pool = request.getfixturevalue("pool")
    loop.run(_emptied(pool))
    return Store(
        PostgresGenerations(pool),
        lambda number: PostgresProjection(pool, number),
        PostgresReader(pool),
    )


async def _emptied(pool: asyncpg.Pool) -> None:
    await pool.execute(f"TRUNCATE {TABLES}")
    await pool.execute("UPDATE live_generation SET generation = 0")
    await pool.execute("DELETE FROM generation WHERE id <> 0")
    await pool.execute("UPDATE generation SET state = 'LIVE' WHERE id = 0")


def test_a_new_one_is_empty_and_not_live(loop: Loop, store: Store) -> None:
    async def scenario() -> None:
        made = await store.generations.create(Source.RAW)
        assert (made.state, made.source, made.predecessor) == (State.BUILDING, Source.RAW, None)
        assert await store.generations.get(made.id) == made
        assert [g.id for g in await store.generations.all()] == [0, made.id]
        assert await store.generations.live() == 0
        assert await store.generations.positions(made.id) == {}
        with pytest.raises(GenerationError, match="no generation 4711"):
            await store.generations.get(4711)

    loop.run(scenario())


def test_each_generation_has_positions_of_its_own(loop: Loop, store: Store) -> None:
    async def scenario() -> None:
        made = await store.generations.create(Source.UNIQUE)
        live, own = store.subject(), store.subject(made.id)
        for subject in (live, live, own):
            await subject.apply(one_event(subject))
        assert await store.generations.positions(0) == live.positions
        assert await store.generations.positions(made.id) == own.positions != live.positions

    loop.run(scenario())


def test_live_counting_goes_on_in_what_was_promoted_and_rolled_back(
    loop: Loop, store: Store
) -> None:
    async def scenario() -> None:
        made = await store.generations.create(Source.UNIQUE)
        live, own = store.subject(), store.subject(made.id)
        for subject in (live, own):
            await subject.apply(one_event(subject))
        await store.swap(made.id)
        assert await store.generations.live() == made.id
        assert (await store.generations.get(0)).state is State.RETIRED
        promoted = await store.generations.get(made.id)
        assert (promoted.state, promoted.predecessor) == (State.LIVE, 0)
        await live.apply(one_event(live))
        assert await store.generations.positions(made.id) == live.positions
        assert await store.generations.positions(0) == own.positions
        # What was live before is promoted again only once it has counted the same.
        with pytest.raises(GenerationError, match="elsewhere"):
            await store.swap(0, back=True)
        assert await store.generations.live() == made.id
        first = store.subject(0)
        first.positions = dict(await store.generations.positions(0))
        await first.apply(one_event(first))
        await store.swap(0, back=True)
        assert await store.generations.live() == 0
        assert (await store.generations.get(0)).predecessor is None
        assert (await store.generations.get(made.id)).state is State.RETIRED

    loop.run(scenario())


def test_live_counting_waits_while_it_is_held(loop: Loop, store: Store) -> None:
    async def scenario() -> None:
        made = await store.generations.create(Source.UNIQUE)
        live, own = store.subject(), store.subject(made.id)
        await live.apply(one_event(live))
        async with store.generations.hold_live() as held:
            assert held.positions == live.positions
            counting = asyncio.create_task(live.apply(one_event(live)))
            await own.apply(one_event(own))  # the other generation can be written
            _, waiting = await asyncio.wait([counting], timeout=0.3)
            assert waiting
            await held.promote(made.id, back=False)
        await counting
        assert await store.generations.positions(made.id) == live.positions

    loop.run(scenario())


def test_what_fails_while_held_promotes_nothing(loop: Loop, store: Store) -> None:
    async def fail(generation: int) -> None:
        async with store.generations.hold_live() as held:
            await held.promote(generation, back=False)
            raise RuntimeError("on the way")

    async def scenario() -> None:
        made = await store.generations.create(Source.UNIQUE)
        with pytest.raises(RuntimeError, match="on the way"):
            await fail(made.id)
        assert await store.generations.live() == 0
        assert (await store.generations.get(made.id)).state is State.BUILDING

    loop.run(scenario())


def test_the_live_one_cannot_be_dropped_and_a_dropped_one_takes_nothing(
    loop: Loop, store: Store
) -> None:
    async def scenario() -> None:
        with pytest.raises(GenerationError, match="is live"):
            await store.generations.drop(0)
        made = await store.generations.create(Source.UNIQUE)
        live, own = store.subject(), store.subject(made.id)
        for subject in (live, own):
            await subject.apply(one_event(subject))
        await store.generations.drop(made.id)
        await store.generations.drop(made.id)  # a drop that was killed is called again
        assert (await store.generations.get(made.id)).state is State.DROPPED
        assert await store.generations.positions(made.id) == {}
        with pytest.raises(GenerationDropped):
            await own.apply(one_event(own))
        with pytest.raises(GenerationError, match="DROPPED"):
            await store.swap(made.id)
        assert await store.reader.aggregates() == {KEY: Aggregate(count=1)}  # the live one's

    loop.run(scenario())


def test_a_promotion_has_its_turn_however_busy_live_is(loop: Loop, pool: asyncpg.Pool) -> None:
    """Sharers that overlap without a gap would starve whoever waits for a row's own lock."""

    async def share(stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with pool.acquire() as connection, connection.transaction():
                await share_live(connection)
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        stop = asyncio.Event()
        sharers = [asyncio.create_task(share(stop)) for _ in range(3)]
        await asyncio.sleep(0.1)
        try:
            async with asyncio.timeout(10), PostgresGenerations(pool).hold_live():
                assert all(not sharer.done() for sharer in sharers)
        finally:
            stop.set()
            await asyncio.gather(*sharers)

    loop.run(_emptied(pool))
    loop.run(scenario())


def test_partitions_counted_side_by_side_survive_a_full_cache_of_series(
    loop: Loop, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection_postgres, "SERIES_CACHE_MAX", 3)

    async def count(projection: Projection, partition: int) -> None:
        subject = Subject(projection, PostgresReader(pool))
        for number in range(12):
            keys = [AggregateKey(f"p{partition}-{n}", BYTES, (), 494_000) for n in range(number)]
            flush = Flush(
                {partition: subject.advance(partition, counted=max(len(keys), 1))},
                {key: Aggregate(count=1) for key in keys},
            )
            await subject.apply(flush)

    async def scenario() -> None:
        projection = PostgresProjection(pool)
        await asyncio.gather(*(count(projection, partition) for partition in range(4)))
        found = await PostgresReader(pool).aggregates()
        assert sum(aggregate.count for aggregate in found.values()) == 4 * sum(range(12))

    loop.run(_emptied(pool))
    loop.run(scenario())
