"""An event loop without time or I/O: it runs what is ready until all wait for the scheduler."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any

Timer = Callable[[asyncio.TimerHandle], None]


class SimulatedLoop(asyncio.AbstractEventLoop):
    """What asyncio's tasks, futures and locks need of a loop, and no more."""

    def __init__(self, on_timer: Timer) -> None:
        """`on_timer` is handed every timer; whoever has it decides when it goes off."""
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...], Context]] = deque()
        self._on_timer = on_timer
        self._unused = asyncio.Handle(lambda: None, (), self)
        self.tasks: list[asyncio.Task[Any]] = []

    def drain(self) -> None:
        """Run callbacks until none is left."""
        ready = self._ready
        while ready:
            callback, args, context = ready.popleft()
            context.run(callback, *args)

    def call_soon(  # type: ignore[override]  # nobody here uses the handle
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._ready.append((callback, args, context or copy_context()))
        return self._unused

    def call_later(  # type: ignore[override]  # typeshed binds the arguments' types
        self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(delay, callback, args, self, context)
        self._on_timer(handle)
        return handle

    def call_at(  # type: ignore[override]  # typeshed binds the arguments' types
        self, when: float, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_later(when - self.time(), callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # typeshed's is generic
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: Any = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self.tasks.append(task)  # a task of a killed process must not be collected in between
        return task

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A task that nobody asks for its exception belongs to a process that ended."""

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: whoever holds the timer sees that it was cancelled."""

    def forget(self) -> None:
        """Drop what never ended, in silence."""
        self._ready.clear()
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # as asyncio.gather does
        self.tasks.clear()
        self._ready.clear()
