"""Somebody replays, promotes, rolls back and drops in the middle of everything: the real build over
the simulated servers. Decides nothing about events.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from services.projector.projection import Position
from services.replay.build import Build
from services.replay.generations import Generation, GenerationError, HeldLive, Source, State
from services.replay.generations_memory import MemoryGenerationProjection
from services.replay.level import approach, level
from services.replay.ranges import Catalogs, Ranges, UniqueRanges
from services.replay.raw import RawRanges
from services.runtime.metric_rows import CatalogHistory
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.servers import (
    Servers,
    SimulatedIndex,
    SimulatedLog,
    SimulatedProjection,
    at_once,
)
from tests.simulation.stages import World

# Beside the live one.
GENERATIONS_MAX = 3


class SimulatedGenerations:
    """See `services.replay.generations.Generations`."""

    def __init__(self, servers: Servers, process: Process) -> None:
        self._servers = servers
        self._generations = servers.generations
        self._process = process
        self._scheduler: Scheduler = process.scheduler
        self._holding: AbstractAsyncContextManager[HeldLive] | None = None
        process.on_death.append(self._let_go)

    async def create(self, source: Source) -> Generation:
        """See Generations."""
        answer: Generation = await self._scheduler.call(
            "create generation",
            lambda: at_once(self._generations.create(source)),
            ConnectionError,
        )
        return answer

    async def get(self, generation: int) -> Generation:
        """See Generations."""
        answer: Generation = await self._read(lambda: at_once(self._generations.get(generation)))
        return answer

    async def all(self) -> list[Generation]:
        """See Generations."""
        answer: list[Generation] = await self._read(lambda: at_once(self._generations.all()))
        return answer

    async def live(self) -> int:
        """See Generations."""
        answer: int = await self._read(lambda: self._generations.live_generation)
        return answer

    async def positions(self, generation: int) -> Mapping[int, Position]:
        """See Generations."""
        answer: Mapping[int, Position] = await self._read(
            lambda: at_once(self._generations.positions(generation))
        )
        return answer

    async def history(self) -> CatalogHistory:
        """See Generations."""
        answer: CatalogHistory = await self._read(lambda: at_once(self._generations.history()))
        return answer

    async def drop(self, generation: int) -> None:
        """See Generations. A promotion locks the line of its generation: this waits for it."""
        held = self._generations.held
        await self._scheduler.call(
            "drop generation",
            lambda: at_once(self._generations.drop(generation)),
            ConnectionError,
            ready=lambda: not held.locked(),
        )

    async def _read(self, effect: Any) -> Any:
        return await self._scheduler.read("generations", effect, ConnectionError)

    @asynccontextmanager
    async def hold_live(self) -> AsyncIterator[HeldLive]:
        """See Generations. The commit may fail whether it was carried out or not; a process that
        ends meanwhile lets go and has swapped nothing."""
        held = self._generations.held
        await self._scheduler.point("hold live", ready=lambda: not held.locked())
        transaction = self._generations.hold_live()
        holder = at_once(transaction.__aenter__())
        self._holding = transaction
        rated_ends = self._servers.rated_ends()
        try:
            yield holder
            await self._scheduler.point("commit swap")
            if self._scheduler.chance("failed"):
                raise ConnectionError("commit swap")
        except Exception:
            self._let_go()
            raise
        lost_answer = self._scheduler.chance("unknown")
        self._holding = None
        at_once(transaction.__aexit__(None, None, None))
        self._servers.note_promotion(rated_ends)
        await self._scheduler.point("commit swap done")
        if lost_answer:
            raise ConnectionError("commit swap")

    def _let_go(self) -> None:
        """Roll back."""
        transaction, self._holding = self._holding, None
        if transaction is not None:
            at_once(transaction.__aexit__(_RolledBack, _RolledBack(), None))


class _RolledBack(Exception):
    """The transaction of a promotion ended before its commit."""


class Operator:
    """Runs one `tollgate replay` command after the other."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._scheduler = world.scheduler
        self._generations = SimulatedGenerations(world.servers, process)

    async def run(self) -> None:
        """Until the calm."""
        rng = self._scheduler.rng
        while True:
            await self._scheduler.point("operator", ready=lambda: not self._scheduler.calm)
            if rng.random() < 0.7:
                continue
            try:
                await self._command()
            except GenerationError as refused:
                self._scheduler.note(f"  refused: {refused}")

    async def _command(self) -> None:
        rng = self._scheduler.rng
        known = await self._generations.all()
        live = next(each for each in known if each.state is State.LIVE)
        others = [each for each in known if each.state in {State.BUILDING, State.RETIRED}]
        if not others or (len(others) < GENERATIONS_MAX and rng.random() < 0.3):
            others = [await self._generations.create(rng.choice((Source.UNIQUE, Source.RAW)))]
        chosen = rng.choice(others)
        build = self._build(chosen)
        action = rng.choice(("fill", "promote", "promote", "drop"))
        self._scheduler.note(f"  {action} generation {chosen.id} ({chosen.source})")
        if action == "fill":
            await approach(self._generations, build, chosen.id)
        elif action == "drop":
            await self._generations.drop(chosen.id)
        else:
            back = live.predecessor == chosen.id
            async with level(self._generations, build, chosen.id, promoting=True) as held:
                await held.promote(chosen.id, back=back)
            self._scheduler.injected["promoted"] += 1

    def _build(self, generation: Generation) -> Build:
        servers, scheduler = self._world.servers, self._scheduler
        log = SimulatedLog(servers, scheduler)
        catalogs = Catalogs(generation, self._generations.history)
        ranges: Ranges = UniqueRanges(log, catalogs)
        if generation.source is Source.RAW:
            index = SimulatedIndex(servers.replay_index(generation.id), scheduler)
            ranges = RawRanges(log, index, catalogs, partition_count=self._world.partitions)
        projection = MemoryGenerationProjection(servers.generations, generation.id)
        return Build(
            log,
            SimulatedProjection(projection, servers, scheduler),
            ranges,
            partition_count=self._world.partitions,
        )


async def operator(world: World, process: Process) -> None:
    """A process that is killed like any other."""
    await Operator(world, process).run()
