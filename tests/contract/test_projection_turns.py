"""Flushes beside each other while another generation becomes the live one: each is applied once."""

import asyncio
from typing import Any

from services.projector.projection import Flush
from services.projector.projection_postgres import PostgresProjection


class Turning(PostgresProjection):
    """Generation 2 is live by now; the answers that say so come together."""

    def __init__(self, flushes: int) -> None:
        pool: Any = None
        super().__init__(pool)
        self._generation = 1
        self._told = asyncio.Barrier(flushes)
        self.applied: list[Flush] = []

    async def _apply(self, flush: Flush, generation: int) -> int:
        if generation == 2:
            self.applied.append(flush)
        else:
            await self._told.wait()
        return 2


def test_each_flush_is_applied_once_whoever_turns_to_the_new_generation_first() -> None:
    async def scenario() -> None:
        flushes = [Flush() for _ in range(3)]
        projection = Turning(len(flushes))
        await asyncio.gather(*map(projection.apply, flushes))
        assert sorted(map(id, projection.applied)) == sorted(map(id, flushes))

    asyncio.run(scenario())
