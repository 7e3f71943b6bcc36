"""The stages as programs: how each is started, and how it says that it is ready.

Starts the same code as the supervisor's own, from any working directory. Imports no stage.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.stack.notify import NotifySocket
from services.stack.process import Command

# In the order of the flow. Each is `python -m services WORD`.
STAGES = {"gateway": "serve", "dedup": "dedup", "rating": "rating", "projector": "projector"}
# The stage that answers HTTP gets the listening socket.
HTTP_STAGE = "gateway"
# Long enough to commit what is in hand; afterwards a stage resumes from its own output anyway.
_STOP_WAIT_S_MAX = 10.0
# One worker a stage: it has its partitions back at once when it is started again.
INSTANCE_ID = "embedded"
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage, with the socket on which it says that it is ready."""

    name: str
    log_path: Path
    environ: Mapping[str, str]
    notify: NotifySocket
    listen_fd: int | None = None

    async def prepare(self) -> None:
        """Forget what its former process has said."""
        self.notify.forget()

    def command(self) -> Command:
        """How to start it."""
        environ = {**os.environ, **self.environ, "NOTIFY_SOCKET": self.notify.address}
        environ.pop("TOLLGATE_LISTEN_FD", None)
        # The former process is dead before this one starts, so the name is never taken.
        environ["TOLLGATE_INSTANCE_ID"] = INSTANCE_ID
        if self.listen_fd is not None:
            environ["TOLLGATE_LISTEN_FD"] = str(self.listen_fd)
        return Command(
            argv=(sys.executable, *_safe_path(), "-m", "services", STAGES[self.name]),
            environ=environ,
            cwd=Path.cwd(),
            stop_wait_s=_STOP_WAIT_S_MAX,
            pass_fds=() if self.listen_fd is None else (self.listen_fd,),
        )

    async def wait_ready(self) -> None:
        """Return once it has said so."""
        await self.notify.wait_ready()

    def forgive_early_death(self) -> bool:
        """A stage that does not start is broken, or told something wrong."""
        return False


def _safe_path() -> tuple[str, ...]:
    """With -m, Python looks into the working directory first: some other `services` there must
    not be started for ours. Unless ours is the one there: a checkout that is not installed."""
    return () if Path.cwd() == _PACKAGE_ROOT else ("-P",)
