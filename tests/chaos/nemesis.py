"""Does one fault after another with pauses between, in an order that the seed decides."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.chaos.faults import Fault, every_fault, gone
from tests.chaos.world import NotDone, World

# Sometimes the next fault meets a stage in the middle of its recovery from the last.
_PAUSE_S = (0.0, 1.5)
# Until what was armed has fired, with load and everything running.
_LAST_FIRES_S = 60.0
# A fault that cannot be done, for the one before, is tried again; it must be possible by then.
_DONE_S_MAX = 150.0
_TRY_AGAIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was done, and when."""

    at_s: float
    fault: Fault
    note: str

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"{self.at_s:7.1f} s  {self.fault.kind} {self.fault.target}{note}"


@dataclass
class Nemesis:
    """Goes through all faults in a shuffled order, then again in another until `seconds` are
    over; without `seconds` once."""

    world: World
    random: random.Random
    seconds: float | None
    done: list[Done] = field(default_factory=list)

    async def run(self) -> None:
        """Until the time is up; then everything runs again and every armed point has fired."""
        began = time.monotonic()
        for fault in self._deck():
            at_s = time.monotonic() - began
            if self.seconds is not None and at_s >= self.seconds:
                break
            # Its own choices, so that one that is tried again does not change what comes after.
            note = await _until_done(self.world, fault, random.Random(self.random.random()))
            self.done.append(Done(at_s, fault, note))
            await asyncio.sleep(self.random.uniform(*_PAUSE_S))
        await asyncio.to_thread(self.world.restore_order)
        for path in sorted(self.world.failpoints.iterdir()):
            assert await gone(path, _LAST_FIRES_S), f"{path.name} was armed and never reached"

    def _deck(self) -> Iterator[Fault]:
        while True:
            deck = every_fault()
            self.random.shuffle(deck)
            yield from deck
            if self.seconds is None:
                return

    @property
    def kinds(self) -> Counter[str]:
        """How often each kind was done."""
        return Counter(done.fault.kind for done in self.done)

    @property
    def kills(self) -> int:
        """Processes that were ended by SIGKILL on purpose."""
        killing = {"kill": 1, "failpoint": 1, "empty": 1, "older copy": 1}
        kills = sum(killing.get(done.fault.kind, 0) for done in self.done)
        kills += 2 * sum(done.fault.target == "all servers" for done in self.done)
        return kills + sum("SIGKILL" in done.note for done in self.done)


async def _until_done(world: World, fault: Fault, choice: random.Random) -> str:
    deadline = time.monotonic() + _DONE_S_MAX
    while True:
        try:
            return await fault.do(world, choice)
        except NotDone as reason:
            problem = f"{fault.kind} {fault.target} could not be done: {reason}"
            assert time.monotonic() < deadline, problem
        await asyncio.sleep(_TRY_AGAIN_S)
