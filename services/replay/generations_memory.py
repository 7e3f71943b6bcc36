"""Generations in memory, for tests and simulation. Keep the contract of the port; price nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from services.projector.projection import Flush, GenerationDropped, Position
from services.projector.projection_memory import MemoryProjection
from services.replay.generations import Generation, GenerationError, Source, State
from services.runtime.metric_rows import CatalogHistory

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryGenerations:
    """See `services.replay.generations.Generations`. `projections` holds what each has counted."""

    def __init__(
        self,
        history: Callable[[], CatalogHistory],
        projection: Callable[[], MemoryProjection] = MemoryProjection,
    ) -> None:
        self._history = history
        self._new_projection = projection
        self._generations = {0: Generation(0, State.LIVE, Source.LIVE, 0, _EPOCH, None, None)}
        self.projections: dict[int, MemoryProjection] = {0: projection()}
        self.live_generation = 0
        self.held = asyncio.Lock()

    async def create(self, source: Source) -> Generation:
        """See Generations."""
        number, version = max(self._generations) + 1, self._history().version
        made = Generation(number, State.BUILDING, source, version, _EPOCH, None, None)
        self._generations[number] = made
        self.projections[number] = self._new_projection()
        return made

    async def get(self, generation: int) -> Generation:
        """See Generations."""
        if generation not in self._generations:
            raise GenerationError(f"there is no generation {generation}")
        return self._generations[generation]

    async def all(self) -> list[Generation]:
        """See Generations."""
        return list(self._generations.values())

    async def live(self) -> int:
        """See Generations."""
        return self.live_generation

    async def positions(self, generation: int) -> Mapping[int, Position]:
        """See Generations."""
        held = self.projections.get(generation)
        return {} if held is None else dict(held.held)

    async def history(self) -> CatalogHistory:
        """See Generations."""
        return self._history()

    @asynccontextmanager
    async def hold_live(self) -> AsyncIterator["_HeldLive"]:
        """See Generations."""
        async with self.held:
            held = _HeldLive(self)
            yield held
            held.commit()

    async def drop(self, generation: int) -> None:
        """See Generations."""
        found = await self.get(generation)
        if found.state is State.LIVE:
            raise GenerationError(f"generation {generation} is live and cannot be dropped")
        self.put(replace(found, state=State.DROPPED))
        self.projections.pop(generation, None)

    def put(self, generation: Generation) -> None:
        """Store a generation's line."""
        self._generations[generation.id] = generation

    def known(self, generation: int) -> Generation:
        """A generation's line."""
        return self._generations[generation]


class _HeldLive:
    """See `services.replay.generations.HeldLive`."""

    def __init__(self, generations: MemoryGenerations) -> None:
        self._generations = generations
        self._promoted: tuple[int, bool] | None = None
        self.generation = generations.live_generation
        self.positions = dict(generations.projections[self.generation].held)

    async def promote(self, generation: int, *, back: bool) -> None:
        """See HeldLive."""
        state = self._generations.known(generation).state
        if state not in {State.BUILDING, State.RETIRED}:
            raise GenerationError(f"generation {generation} is {state}; it cannot become live")
        if self._generations.projections[generation].held != self.positions:
            raise GenerationError(f"generation {generation} stands elsewhere than the live one")
        self._promoted = (generation, back)

    def commit(self) -> None:
        """What was promoted becomes live, all at once."""
        if self._promoted is None:
            return
        number, back = self._promoted
        store, before = self._generations, self.generation
        store.put(replace(store.known(before), state=State.RETIRED))
        found = store.known(number)
        predecessor = found.predecessor if back else before
        store.put(replace(found, state=State.LIVE, predecessor=predecessor))
        store.live_generation = number


class MemoryGenerationProjection:
    """See `services.projector.projection.Projection`: one generation, or whichever is live."""

    def __init__(self, generations: MemoryGenerations, generation: int | None = None) -> None:
        self._generations = generations
        self._fixed = generation

    async def positions(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        """See Projection."""
        return await self._projection().positions(partitions)

    async def apply(self, flush: Flush) -> None:
        """See Projection."""
        if self._fixed is not None:
            await self._projection().apply(flush)
            return
        async with self._generations.held:
            await self._projection().apply(flush)

    def _projection(self) -> MemoryProjection:
        live = self._generations.live_generation
        number = live if self._fixed is None else self._fixed
        if number not in self._generations.projections:
            raise GenerationDropped(f"generation {number} was dropped meanwhile")
        return self._generations.projections[number]
