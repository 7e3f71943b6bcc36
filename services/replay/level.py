"""Bringing a generation to exactly where the live one stands. Live traffic goes on but for the last
moment, in which little is left to count.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from services.projector.projection import Position
from services.replay.build import Build
from services.replay.generations import GenerationError, Generations, HeldLive

# Raw offsets left to count when live counting may be held for them: a fraction of a second.
HELD_OFFSETS_MAX = 20_000
# Under more traffic than a replay can follow, hold for what is left then.
ROUNDS_MAX = 20
# Counting what is left takes a fraction of a second, and promoting about one.
HELD_S_MAX = 20
# For the projector, between two looks at what waits for it.
OLDER_WAIT_S = 0.5


async def approach(generations: Generations, build: Build, generation: int) -> None:
    """Count up to the live positions until little is left, while those move on."""
    for _ in range(ROUNDS_MAX):
        await build.catch_up(await _live_positions(generations))
        live = await _live_positions(generations)
        own = await generations.positions(generation)
        if _left(live, own) <= HELD_OFFSETS_MAX:
            return


@asynccontextmanager
async def level(
    generations: Generations, build: Build, generation: int, *, promoting: bool = False
) -> AsyncIterator[HeldLive]:
    """Hold the live generation with the other one at the same positions.

    `promoting`: ranges that were rated under an older catalog than the generation's wait for the
    live count first; counted live once the generation is promoted, they would miss the metrics made
    since. Raises GenerationError when they do not come to an end, or when the moment is too long.
    """
    version = (await generations.get(generation)).catalog_version if promoting else 0
    for _ in range(ROUNDS_MAX):
        await approach(generations, build, generation)
        # The bulk of it is looked at, and mostly waited for, while live goes on.
        if await build.counted_since(await _live_positions(generations), version):
            async with _held(generations) as held:
                await build.catch_up(held.positions)
                if await build.counted_since(held.positions, version):
                    yield held
                    return
        await asyncio.sleep(OLDER_WAIT_S)
    raise GenerationError(
        f"usage that was rated before catalog version {version} still waits to be counted; look at"
        " `tollgate lag` and try again when the projector has caught up"
    )


@asynccontextmanager
async def _held(generations: Generations) -> AsyncIterator[HeldLive]:
    """Hold live, but not for long: whatever hangs, counting must go on."""
    async with generations.hold_live() as held:
        try:
            async with asyncio.timeout(HELD_S_MAX):
                yield held
        except TimeoutError as error:
            raise GenerationError(
                f"live counting was held for {HELD_S_MAX} s, which is the limit; nothing was"
                " changed. Is a server slow or away? Try again"
            ) from error


async def _live_positions(generations: Generations) -> Mapping[int, Position]:
    return await generations.positions(await generations.live())


def _left(live: Mapping[int, Position], own: Mapping[int, Position]) -> int:
    return sum(
        position.next_raw - (own[partition].next_raw if partition in own else 0)
        for partition, position in live.items()
    )
