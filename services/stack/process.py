"""One child process: started so that it cannot outlive the parent, its output kept in a log.

Each child is in a session of its own (Ctrl-C in the terminal reaches only the supervisor) and asks
the kernel for a signal when its parent dies, even by kill -9. That is bound to the parent's THREAD:
the thread that starts a child must live as long as the child shall. Linux only.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.stack.console import Stopwatch
from services.stack.errors import StartError
from services.stack.files import PRIVATE_FILE

# Two files of this size a process: enough for days of a stage's log, and bounded.
LOG_BYTES_MAX = 10 * 1024 * 1024
# A killed process is gone at once; longer means that it hangs in the kernel.
KILL_WAIT_S_MAX = 5.0
# A child that finds its parent gone before it could ask for the signal.
_EXIT_ORPHAN = 77

_PR_SET_PDEATHSIG = 1
# Loaded here and not in the child: after a fork, nothing may be imported.
libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how to end it."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_wait_s: float = 10.0
    # What the kernel sends when the supervisor is gone.
    orphan_signal: signal.Signals = signal.SIGKILL
    # Runs in the child before everything else: another user, a user namespace.
    become: Callable[[], None] | None = None
    pass_fds: tuple[int, ...] = ()


def server_environ() -> dict[str, str]:
    """The environment of the three servers: none of the user's settings reach them (PGPORT,
    JAVA_TOOL_OPTIONS), and nothing on the machine's PATH is used."""
    environ = {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
    for name in ("HOME", "TMPDIR", "LD_LIBRARY_PATH"):
        if name in os.environ:
            environ[name] = os.environ[name]
    return environ


def die_with_parent(orphan_signal: int, parent_pid: int) -> None:
    """In a child: ask for the signal when the parent's thread ends. After any change of user,
    because that clears it."""
    if libc.prctl(_PR_SET_PDEATHSIG, orphan_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # it died before we asked
        os._exit(_EXIT_ORPHAN)


@dataclass(slots=True)
class Child:
    """A running child."""

    command: Command
    popen: subprocess.Popen[bytes]
    stopwatch: Stopwatch = field(default_factory=Stopwatch)

    @classmethod
    def start(cls, command: Command, log_path: Path) -> "Child":
        """Start it now, in the calling thread, its output appended to the log."""
        parent_pid = os.getpid()

        def prepare() -> None:
            if command.become is not None:
                command.become()
            die_with_parent(command.orphan_signal, parent_pid)

        descriptor = os.open(
            log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE
        )
        try:
            popen = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                cwd=command.cwd,
                env=dict(command.environ),
                start_new_session=True,
                umask=0o077,
                pass_fds=command.pass_fds,
                preexec_fn=prepare,  # noqa: PLW1509 - only system calls, no lock
            )
        finally:
            os.close(descriptor)
        return cls(command, popen)

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self.popen.pid

    async def wait(self) -> int:
        """Its exit status, once it has ended; negative for a signal."""
        if self.popen.poll() is None:
            descriptor = os.pidfd_open(self.pid)
            try:
                await readable(descriptor)
            finally:
                os.close(descriptor)
        return self.popen.wait()

    async def stop(self) -> None:
        """End it in order; kill its group if that takes too long."""
        self._send(self.command.stop_signal)
        try:
            async with asyncio.timeout(self.command.stop_wait_s):
                await self.wait()
        except TimeoutError:
            self.kill()
            # One that hangs in the kernel ends when that lets it go; the others must be stopped.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KILL_WAIT_S_MAX):
                    await self.wait()
        self.kill()

    def kill(self) -> None:
        """Kill it with all its group: what it started must not go on without it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(number)


async def readable(descriptor: int) -> None:
    """Wait until the descriptor can be read."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.add_reader(descriptor, event.set)
    try:
        await event.wait()
    finally:
        loop.remove_reader(descriptor)


async def run_to_end(name: str, command: Command, log_path: Path, seconds_max: float) -> None:
    """Run a command that ends by itself; raises StartError when it fails or takes too long."""
    child = Child.start(command, log_path)
    try:
        async with asyncio.timeout(seconds_max):
            status = await child.wait()
    except TimeoutError as error:
        raise StartError(
            name, f"took more than {seconds_max:.0f} s to prepare", log_path
        ) from error
    finally:
        child.kill()
        child.popen.wait()
    if status != 0:
        raise StartError(
            name, f"could not be prepared: {Path(command.argv[0]).name} {ended(status)}", log_path
        )


def ended(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"


def rotate(log_path: Path) -> None:
    """Move a log that has grown too large out of the way, over the one before it."""
    with contextlib.suppress(FileNotFoundError):
        if log_path.stat().st_size > LOG_BYTES_MAX:
            log_path.replace(log_path.with_name(f"{log_path.name}.1"))
