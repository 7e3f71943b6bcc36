"""Keeps programs running: starts them in groups, starts again what dies, stops all in order.

Knows nothing of Kafka or of stages: a Program says how it is prepared, started and found ready.
"""

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.stack.backoff import Backoff
from services.stack.console import Announce, Stopwatch
from services.stack.errors import StackError, StartError
from services.stack.process import Child, ended
from services.stack.server import Program

# From prepared to ready, for each program. A warm start takes a fiftieth of it.
START_WAIT_S_MAX = 120.0


@dataclass(slots=True)
class _Kept:
    program: Program
    child: Child | None = None
    backoff: Backoff = field(default=Backoff())
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """The running programs. Use it from one thread that lives as long as they shall."""

    def __init__(self, announce: Announce, on_change: Callable[[], None]) -> None:
        self._announce = announce
        self._on_change = on_change
        self._groups: list[list[_Kept]] = []
        self._stopping = asyncio.Event()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def processes(self) -> list[tuple[str, int]]:
        """Name and process id of what runs now."""
        return [
            (kept.program.name, kept.child.pid)
            for group in self._groups
            for kept in group
            if kept.child is not None
        ]

    @property
    def programs(self) -> dict[str, Program]:
        """What is kept, by name."""
        return {kept.program.name: kept.program for group in self._groups for kept in group}

    async def start(self, programs: Sequence[Program]) -> None:
        """Start these at once and return when all are ready; they are a group when stopping.

        Raises StackError for the first that does not become ready.
        """
        group = [_Kept(program) for program in programs]
        self._groups.append(group)
        first: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as starting:
                for kept in group:
                    starting.create_task(self._start_one(kept))
        except* StackError as errors:
            first = errors
        # Raised out here: what is raised inside `except*` may come out in a group again.
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if first is not None:
            raise first

    async def failed(self) -> None:
        """Wait for ever; raises when a fault of our own ended the watch over a program."""
        await self._failed

    async def stop(self) -> None:
        """Stop everything, the group started last first."""
        self._stopping.set()
        for group in reversed(self._groups):
            await asyncio.gather(*(kept.child.stop() for kept in group if kept.child is not None))
        keepers = [kept.keeper for group in self._groups for kept in group if kept.keeper]
        await asyncio.gather(*keepers, return_exceptions=True)
        self._failed.cancel()

    def kill(self) -> None:
        """Kill everything now, without waiting."""
        self._stopping.set()
        for group in self._groups:
            for kept in group:
                if kept.child is not None:
                    kept.child.kill()

    async def _start_one(self, kept: _Kept) -> None:
        program = kept.program
        stopwatch = Stopwatch()
        await program.prepare()
        try:
            async with asyncio.timeout(START_WAIT_S_MAX):
                problem = await self._run_until_ready(kept)
                if problem is not None and program.forgive_early_death():
                    problem = await self._run_until_ready(kept)
        except TimeoutError as error:
            problem = f"was not ready within {START_WAIT_S_MAX:.0f} s"
            raise StartError(program.name, problem, program.log_path) from error
        except (OSError, subprocess.SubprocessError) as error:
            problem = f"could not be started ({error})"
            raise StartError(program.name, problem, program.log_path) from error
        if problem is not None:
            raise StartError(program.name, f"{problem} before it was ready", program.log_path)
        self._announce(program.name, f"ready ({stopwatch})")
        kept.keeper = asyncio.create_task(self._keep(kept), name=f"keep {program.name}")
        kept.keeper.add_done_callback(self._keeper_ended)

    async def _run_until_ready(self, kept: _Kept) -> str | None:
        """Start it; returns None once it is ready, or how it ended before that."""
        if self._stopping.is_set():
            return "was not started again"
        # Nothing is awaited between the check and here, so a stop cannot miss this child.
        kept.child = Child.start(kept.program.command(), kept.program.log_path)
        self._on_change()
        ready = asyncio.create_task(kept.program.wait_ready())
        died = asyncio.create_task(kept.child.wait())
        try:
            await asyncio.wait({ready, died}, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                self._bury(kept)
                return ended(died.result())
            ready.result()
            return None
        finally:
            ready.cancel()
            died.cancel()
            await asyncio.gather(ready, died, return_exceptions=True)

    async def _keep(self, kept: _Kept) -> None:
        while not self._stopping.is_set():
            assert kept.child is not None, "a keeper starts when its program is ready"
            problem: str | None = ended(await kept.child.wait())
            alive_s = kept.child.stopwatch.elapsed_s
            self._bury(kept)
            while problem is not None and not self._stopping.is_set():
                kept.backoff = kept.backoff.after_death(alive_s)
                problem = await self._start_again(kept, problem)
                alive_s = 0.0

    async def _start_again(self, kept: _Kept, problem: str) -> str | None:
        """Wait and start it; returns None once it is ready, or the new problem."""
        program, delay_s = kept.program, kept.backoff.delay_s
        self._announce(
            program.name, f"{problem}; starting again in {delay_s:.1f} s (log: {program.log_path})"
        )
        if await self._stopped_within(delay_s):
            return problem
        stopwatch = Stopwatch()
        # More time at every attempt: what has much to recover must not be killed over it for ever.
        wait_s = START_WAIT_S_MAX * kept.backoff.deaths
        try:
            async with asyncio.timeout(wait_s):
                await program.prepare()
                again = await self._run_until_ready(kept)
        except TimeoutError:
            await self._end(kept)
            return f"was not ready within {wait_s:.0f} s"
        except (StackError, OSError, subprocess.SubprocessError) as error:
            await self._end(kept)
            return f"could not be started again ({error})"
        if again is None:
            self._announce(program.name, f"is back ({stopwatch})")
        else:
            program.forgive_early_death()
        return again

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _end(self, kept: _Kept) -> None:
        """Kill what is of no use; it is gone before another one is started."""
        if kept.child is not None:
            kept.child.kill()
            await kept.child.wait()
        self._bury(kept)

    def _bury(self, kept: _Kept) -> None:
        """What it started must not go on beside its successor."""
        if kept.child is not None:
            kept.child.kill()
            kept.child = None
            self._on_change()

    def _keeper_ended(self, keeper: asyncio.Task[None]) -> None:
        if keeper.cancelled() or self._failed.done():
            return
        error = keeper.exception()
        if error is not None:
            self._failed.set_exception(error)
