"""Who goes on next, by a seeded choice: the only place where anything of a run is decided.

Every call of a server waits at a point before it takes effect and at one before its answer; the
scheduler lets one of those who wait go on, or ends its process there.
"""

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from services.projector.projection import GenerationDropped, PositionMoved
from services.replay.generations import GenerationError
from services.runtime.log import AppendFailed
from tests.simulation.loop import SimulatedLoop
from tests.simulation.profile import Profile

# What ends a process, which a supervisor then starts again. Anything else is a bug.
ENDS = (ConnectionError, AppendFailed, GenerationDropped)
# So does an index that is lost again while it is put back: at the next start it is tried afresh.
INDEX_LOST_AGAIN = "the index of "

# Nobody waits so long but for what does not come.
TIMEOUT_S_MIN = 5.0

Effect = Callable[[], object]
Ready = Callable[[], bool]


class Failure(Exception):
    """The run did not keep the promise; `kind` is what went wrong."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind

    def __str__(self) -> str:
        return ": ".join(self.args)


class Process:
    """A simulated process: what it holds is lost when it dies."""

    def __init__(self, scheduler: "Scheduler", stage: str, name: str) -> None:
        self.scheduler = scheduler
        self.stage = stage
        self.name = name
        self.alive = True
        self.frozen = False
        self.on_death: list[Callable[[], None]] = []
        self._context = copy_context()
        self._context.run(CURRENT.set, self)

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        return self.scheduler.loop.create_task(coroutine, context=self._context)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """A task whose end by an error is the end of the process."""
        self.spawn(self._guarded(coroutine))

    async def _guarded(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        try:
            await coroutine
        except ENDS as error:
            self.scheduler.note(f"  {self.name}: {error!r}")
            self.scheduler.kill(self)
        except Exception as error:  # noqa: BLE001 (it is reported as the run's failure)
            if str(error).startswith(INDEX_LOST_AGAIN):
                self.scheduler.note(f"  {self.name}: {error!r}")
                self.scheduler.kill(self)
                return
            what = "".join(traceback.format_exception(error))
            self.scheduler.fail(Failure("error", f"{self.name} fails with {what}"))


CURRENT: ContextVar[Process] = ContextVar("CURRENT")


class Parked:
    """A task that waits for the scheduler, or a timer."""

    __slots__ = ("effect", "future", "label", "order", "process", "ready", "timer")

    def __init__(
        self,
        process: Process,
        label: str,
        *,
        future: asyncio.Future[None] | None = None,
        ready: Ready | None = None,
        effect: Effect | None = None,
        order: object = None,
        timer: asyncio.TimerHandle | None = None,
    ) -> None:
        self.process = process
        self.label = label
        self.future = future
        self.ready = ready
        self.effect = effect
        self.order = order
        self.timer = timer


@dataclass(frozen=True, eq=False, slots=True)
class OnTheWire:
    """A request that whoever sent it has given up, or died of. Of one order, the first lands
    first."""

    order: object
    effect: Effect
    ready: Ready | None


class Scheduler:
    """The tasks that wait, the requests that are still on the wire, and the choice among them."""

    def __init__(self, rng: Random, profile: Profile) -> None:
        self.rng = rng
        self.profile = profile
        self.loop = SimulatedLoop(self._park_timer, self._forget_timer)  # type: ignore[abstract]  # what is not used
        self.numbers = count()
        self.calm = False  # no more faults: let everything drain
        self.steps = 0
        self.trace: list[str] = []
        self.injected: Counter[str] = Counter()
        self.failure: Failure | None = None
        self._parked: list[Parked] = []
        self._wire: list[OnTheWire] = []

    def chance(self, fault: str) -> bool:
        """Whether a fault strikes here; noted when it does."""
        rate = self.profile.rates[fault]
        if self.calm or rate == 0.0 or self.rng.random() >= rate:
            return False
        self.injected[fault] += 1
        return True

    def note(self, what: str) -> None:
        """One more line of the trace."""
        self.trace.append(f"{self.steps} {what}")

    def fail(self, failure: Failure) -> None:
        """Remember the first failure; the run ends at the next step."""
        self.failure = self.failure or failure

    async def point(
        self,
        label: str,
        *,
        ready: Ready | None = None,
        effect: Effect | None = None,
        order: object = None,
    ) -> None:
        """Wait to be chosen. `effect` is what happens at the server when the process dies here
        with its request on the wire."""
        process = CURRENT.get()
        future: asyncio.Future[None] = self.loop.create_future()
        if process.alive:
            self._parked.append(
                Parked(process, label, future=future, ready=ready, effect=effect, order=order)
            )
        await future  # for ever in a process that is dead

    def _park_timer(self, timer: asyncio.TimerHandle) -> None:
        process = CURRENT.get()
        if process.alive:
            # A short wait may end at any time; that a long one ends first is a fault.
            short = timer.when() < TIMEOUT_S_MIN
            ready = None if short else lambda: self.chance("timeout")
            self._parked.append(Parked(process, "timer", timer=timer, ready=ready))

    def _forget_timer(self, timer: asyncio.TimerHandle) -> None:
        self._parked = [parked for parked in self._parked if parked.timer is not timer]

    async def call(
        self,
        label: str,
        effect: Callable[[], Any],
        error: type[Exception],
        order: object = None,
        ready: Ready | None = None,
    ) -> Any:
        """One request that changes a server, with everything that may go wrong with it. `ready`:
        whether the server can carry it out now."""
        await self.point(label, effect=effect, order=order, ready=ready)
        if self.chance("failed"):
            self.note(f"  {label} fails")
            raise error(label)
        if self.chance("late"):
            self.note(f"  {label} fails and is applied later")
            self._wire.append(OnTheWire(order, effect, ready))
            raise error(label)
        lost_answer = self.chance("unknown")
        answer = effect()
        await self.point(f"{label} done")
        if lost_answer:
            self.note(f"  {label} was applied and fails")
            raise error(label)
        return answer

    async def read(self, label: str, effect: Callable[[], Any], error: type[Exception]) -> Any:
        """One request that changes nothing."""
        if self.chance("failed"):
            self.note(f"  {label} fails")
            await self.point(label)
            raise error(label)
        answer = effect()
        await self.point(label)
        return answer

    def resume_one(self) -> bool:
        """Let one of those who wait go on; False when none can."""
        parked = self._chosen()
        if parked is None:
            return False
        self.note(f"{parked.process.name} {parked.label}")
        if parked.process.stage != "client" and self.chance("kill"):
            self._parked.append(parked)
            self.kill(parked.process)
        elif parked.timer is not None:
            parked.timer._run()
        else:
            assert parked.future is not None
            parked.future.set_result(None)
        self.loop.drain()
        return True

    def _chosen(self) -> Parked | None:
        while True:
            able = [
                index
                for index, parked in enumerate(self._parked)
                if not parked.process.frozen and (parked.ready is None or parked.ready())
            ]
            if not able:
                return None
            parked = self._parked.pop(able[int(self.rng.random() * len(able))])
            if parked.future is None or not parked.future.done():
                return parked  # the others were cancelled

    def kill(self, process: Process) -> None:
        """kill -9: requests on the wire may still be carried out, nothing else remains."""
        if not process.alive:
            return
        self.note(f"  {process.name} ends")
        process.alive = False
        kept = []
        for parked in self._parked:
            if parked.process is not process:
                kept.append(parked)
            elif parked.effect is not None and not self.calm and self.rng.random() < 0.5:
                self.injected["late_after_death"] += 1
                self._wire.append(OnTheWire(parked.order, parked.effect, parked.ready))
        self._parked = kept
        for callback in process.on_death:
            callback()

    def land_one(self) -> bool:
        """Carry out one request of those on the wire; False when there is none."""
        able = [sent for sent in self._wire if sent.ready is None or sent.ready()]
        if not able:
            return False
        sent = able[int(self.rng.random() * len(able))]
        if sent.order is not None:
            sent = next(other for other in able if other.order == sent.order)
        self._wire.remove(sent)
        self.note(f"  a late request lands: {sent.order}")
        with suppress(PositionMoved, GenerationDropped, GenerationError):
            sent.effect()
        return True
