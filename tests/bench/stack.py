"""A Tollgate of the bench's own, as `tollgate up` starts it, in a temporary directory.

Nothing it measured is believed before `verify` found every event accounted for.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.stack.ports import choose_ports
from tests.bench import children
from tests.bench.processes import cpu_seconds, machine_busy_seconds, pss_bytes, trees

SERVERS = ("kafka", "redis", "postgres")
# In the order of the flow; beside the gateway.
STAGES = ("dedup", "rating", "projector")
_ADDRESSES = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "DATABASE_URL", "TOLLGATE_DATA_DIR")
_START_S_MAX = 180.0
_COMMAND_S_MAX = 900.0
_WORKER_S_MAX = 60.0
_QUIET_S_MAX = 120.0
# Of a log, when it is looked for what went wrong.
_LOG_BYTES_MAX = 256 * 1024
# Its delay, and a moment to have begun.
_QUIET_AFTER_S = 6.0
# The longest that the setting takes.
GRACE_HOURS = str(34 * 24)


class BenchError(Exception):
    """What was measured is no figure, or could not be measured."""


class NotSustained(BenchError):
    """No rate that was tried was kept up with; the count is right all the same."""


class Stack:
    """A running Tollgate."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.start_s = 0.0
        self._ready_s = 0.0
        self._up: asyncio.subprocess.Process | None = None
        self._workers: dict[str, asyncio.subprocess.Process] = {}
        self._pids: dict[str, int] = {}

    @property
    def run(self) -> dict[str, Any]:
        """run.json, which says how to reach everything."""
        found: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        return found

    @property
    def database_url(self) -> str:
        """PostgreSQL's address."""
        return str(self.run["database_url"])

    @property
    def api(self) -> tuple[str, int]:
        """Where HTTP is answered."""
        host, _, port = str(self.run["api_url"]).removeprefix("http://").partition(":")
        return host, int(port)

    async def start(self) -> None:
        """`tollgate up`, until it says that it is ready; `start_s` is how long that took."""
        output = self.data_dir / "up.out"
        environ = {name: text for name, text in os.environ.items() if name not in _ADDRESSES}
        # Early in a month the last one is measured: its drafts are not to become final meanwhile.
        environ["TOLLGATE_GRACE_HOURS"] = GRACE_HOURS
        words = (
            *(sys.executable, "-m", "services", "up"),
            *("--data-dir", str(self.data_dir), "--port", "0"),
        )
        began = time.monotonic()
        with output.open("wb") as lines:
            # Stops in order when the bench is gone: a second signal would kill it at once.
            self._up = await children.start(
                *words, orphan_signal=signal.SIGTERM, stdout=lines, stderr=lines, env=environ
            )
        while b"tollgate is ready" not in output.read_bytes():
            if self._up.returncode is not None or time.monotonic() > began + _START_S_MAX:
                raise BenchError(f"tollgate up did not start:\n{output.read_text()}")
            await asyncio.sleep(0.01)
        self._ready_s = time.monotonic()
        self.start_s = self._ready_s - began
        self._pids = {e["name"]: int(e["pid"]) for e in self.run["processes"]}
        self._pids["supervisor"] = self._up.pid

    async def quiet(self) -> None:
        """Wait for what the first start on a machine does beside: the supervisor makes Kafka's
        class archive, which takes seconds of CPU."""
        age_s = time.monotonic() - self._ready_s
        await asyncio.sleep(max(0.0, _QUIET_AFTER_S - age_s))
        deadline = time.monotonic() + _QUIET_S_MAX
        while len(trees(self._roots())["supervisor"]) > 1:
            if time.monotonic() > deadline:
                raise BenchError(f"the supervisor is still at work after {_QUIET_S_MAX:.0f} s")
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """In order; raises BenchError unless all of it ended so. Nothing is left running, also
        when this is cancelled: the servers and stages end with their supervisor."""
        up = self._up
        try:
            await self.end_workers()
        finally:
            status = 0 if up is None else await children.end(up)
            self._up = None
        if status != 0:
            raise BenchError(f"tollgate up ended with {status}" if status else "it did not stop")

    async def command(self, *words: str) -> str:
        """One `tollgate` command against it; what it says. Raises BenchError unless it ends with
        status 0, and in time."""
        command = " ".join(words)
        try:
            status, said = await children.output(
                *(sys.executable, "-m", "services", *words, "--data-dir", str(self.data_dir)),
                wait_s=_COMMAND_S_MAX,
            )
        except TimeoutError:
            raise BenchError(f"tollgate {command}: not ended in {_COMMAND_S_MAX:.0f} s") from None
        text = said.decode(errors="replace")
        if status != 0:
            raise BenchError(f"tollgate {command} ended with {status}:\n{text[-4_000:]}")
        return text

    async def verify(self, *, deep: bool) -> str:
        """Raises BenchError unless every event is accounted for; the last line of what it says."""
        output = await self.command("verify", *(["--deep"] if deep else []))
        return output.strip().rpartition("\n")[2]

    def complaints(self) -> str:
        """The last errors in its logs, and what the supervisor said. Not in all files that are
        called so: Kafka's data are, gigabytes of them."""
        said = [_tail(self.data_dir / "up.out")[-1_000:]]
        for log in sorted([*self.data_dir.glob("logs/*.log"), *self.data_dir.glob("*.log")]):
            lines = _tail(log).splitlines()
            bad = [n for n, line in enumerate(lines) if " ERROR " in line]
            if bad:
                said.append(f"{log.name}:\n" + "\n".join(lines[bad[-1] :][:60]))
        return "\n".join(said)

    def cpu(self) -> dict[str, float]:
        """CPU seconds by process so far; raises BenchError when one was started again meanwhile,
        whose time would be lost."""
        now = {entry["name"]: int(entry["pid"]) for entry in self.run["processes"]}
        again = [name for name, pid in now.items() if self._pids[name] != pid]
        if again:
            raise BenchError(f"started again while it was measured: {', '.join(again)}")
        return cpu_seconds(self._roots())

    def memory(self) -> dict[str, int]:
        """PSS in bytes by process."""
        return pss_bytes(self._roots())

    def _roots(self) -> dict[str, int]:
        return self._pids | {name: worker.pid for name, worker in self._workers.items()}

    async def add_worker(self, stage: str, number: int) -> int:
        """One more process of a stage, under a name of its own, once it takes part; returns its
        port, which only a gateway has."""
        run = self.run
        port = choose_ports(["bench"], {})["bench"]
        environ = {
            **os.environ,
            "TOLLGATE_GRACE_HOURS": GRACE_HOURS,
            "KAFKA_BOOTSTRAP_SERVERS": run["kafka_bootstrap_servers"],
            "REDIS_URL": run["redis_url"],
            "DATABASE_URL": run["database_url"],
            "TOLLGATE_INSTANCE_ID": f"bench-{number}",
            "TOLLGATE_PORT": str(port),
        }
        name = f"{stage}-{number}"
        log = self.data_dir / f"{name}.log"
        with log.open("wb") as lines:
            worker = await children.start(
                *(sys.executable, "-m", "services", stage), env=environ, stderr=lines, stdout=lines
            )
        self._workers[name] = worker
        deadline = time.monotonic() + _WORKER_S_MAX
        while not (_listens(port) if stage == "gateway" else b"partitions [" in log.read_bytes()):
            if worker.returncode is not None or time.monotonic() > deadline:
                raise BenchError(f"{name} did not start:\n{log.read_text()[-2_000:]}")
            await asyncio.sleep(0.05)
        return port

    async def end_workers(self) -> None:
        """End what was added, in order; raises BenchError for one that had failed."""
        names = list(self._workers)
        # Kept until they have ended: when this is cancelled, each is killed.
        statuses = await asyncio.gather(*(children.end(self._workers[name]) for name in names))
        self._workers.clear()
        ended = dict(zip(names, statuses, strict=True))
        if failed := [name for name, status in ended.items() if status != 0]:
            raise BenchError(f"workers failed: {', '.join(failed)}")

    @contextlib.contextmanager
    def stopped(self, names: tuple[str, ...]) -> Iterator[None]:
        """These processes and their children stand still meanwhile. For less than the 20 s after
        which a stage that stood still ends itself."""
        pids = [self._pids[name] for name in names]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)


def _tail(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_BYTES_MAX))
        return file.read().decode(errors="replace")


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Usage:
    """CPU between two moments, by process, and what the rest of the machine did."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._before = stack.cpu()
        self._busy_s = machine_busy_seconds()
        self._began_s = time.monotonic()

    def us_per_event(self, events: int) -> dict[str, float]:
        """By process, since the beginning."""
        return {name: 1e6 * used / events for name, used in self.seconds().items()}

    def seconds(self) -> dict[str, float]:
        """By process, since the beginning."""
        after = self._stack.cpu()
        return {name: after[name] - self._before.get(name, 0.0) for name in after}

    def others_cores(self, own_s: float) -> float:
        """Cores kept busy by what belongs neither to Tollgate nor to the bench (`own_s`)."""
        elapsed = time.monotonic() - self._began_s
        busy = machine_busy_seconds() - self._busy_s
        return max(0.0, busy - sum(self.seconds().values()) - own_s) / elapsed


@asynccontextmanager
async def fresh_stack() -> AsyncIterator[Stack]:
    """A running Tollgate in a directory of its own; at its end verified, stopped, removed."""
    directory = Path(tempfile.mkdtemp(prefix="tollgate-bench-"))
    stack = Stack(directory)
    try:
        await stack.start()
        yield stack
        await stack.stop()
    except BaseException:
        print(stack.complaints())  # its directory is removed
        raise
    finally:
        with contextlib.suppress(BenchError):
            await stack.stop()
        shutil.rmtree(directory, ignore_errors=True)
