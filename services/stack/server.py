"""What the supervisor asks of whatever it keeps alive, a server or a stage."""

from pathlib import Path
from typing import Protocol

from services.stack.process import Command


class Program(Protocol):
    """A program to keep alive. One file a technology implements it."""

    @property
    def name(self) -> str:
        """Its name, as the person at the terminal knows it."""

    @property
    def log_path(self) -> Path:
        """Where its output goes."""

    async def prepare(self) -> None:
        """Make what it needs. Before every start, so it must be quick when all is there."""

    def command(self) -> Command:
        """How to start it."""

    async def wait_ready(self) -> None:
        """Return once the process started last is ready; never, if it never is."""

    def forgive_early_death(self) -> bool:
        """Told that it died before it was ready. True: the likely cause was removed, start again;
        False: it is broken."""


# A ready check costs a connection: quick enough to lose no time, slow enough to cost none.
READY_POLL_S = 0.05
