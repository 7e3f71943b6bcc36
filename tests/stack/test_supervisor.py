"""The supervisor on small programs of our own: they start, die, hang and are stopped."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.stack.errors import StackError, StartError
from services.stack.notify import NotifySocket
from services.stack.ports import listen_for_api
from services.stack.process import Command
from services.stack.stages import HTTP_STAGE, Stage
from services.stack.supervisor import Supervisor
from tests.stack.running import is_alive

# Everything here takes well under a second, but for the waits of a busy machine.
LIMIT_S = 20


@dataclass
class Script:
    """A Python program that is ready once it has made its file `ready`."""

    folder: Path
    name: str
    body: str
    forgives: bool = False
    prepared: list[float] = field(default_factory=list)
    stop_wait_s: float = 10.0

    @property
    def log_path(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def ready_path(self) -> Path:
        return self.folder / f"{self.name}.ready"

    async def prepare(self) -> None:
        self.ready_path.unlink(missing_ok=True)
        self.prepared.append(time.monotonic())

    def command(self) -> Command:
        header = f"import os, pathlib, signal, subprocess, sys, time; here = {str(self.folder)!r}\n"
        header += f"def ready(): pathlib.Path({str(self.ready_path)!r}).touch()\n"
        return Command(
            (sys.executable, "-c", header + self.body),
            dict(os.environ),
            self.folder,
            stop_wait_s=self.stop_wait_s,
        )

    async def wait_ready(self) -> None:
        while not self.ready_path.exists():
            await asyncio.sleep(0.01)

    def forgive_early_death(self) -> bool:
        self.body = "ready(); time.sleep(60)" if self.forgives else self.body
        return self.forgives


RUNS = "ready(); time.sleep(60)"


class Run:
    """A supervisor with what it said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(
            lambda name, text: self.said.append(f"{name}: {text}"), self._changed
        )

    def _changed(self) -> None:
        self.changes += 1

    def pid(self, name: str) -> int:
        return dict(self.supervisor.processes)[name]

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await asyncio.sleep(0.01)


def supervised(work: Callable[[Run], Awaitable[None]]) -> Run:
    """Run the work, within the limit, and stop everything after it."""

    async def limited() -> Run:
        run = Run()
        try:
            async with asyncio.timeout(LIMIT_S):
                await work(run)
        finally:
            await run.supervisor.stop()
        return run

    return asyncio.run(limited())


def test_what_dies_is_started_again_and_said(tmp_path: Path) -> None:
    async def work(run: Run) -> None:
        await run.supervisor.start([Script(tmp_path, "a", RUNS), Script(tmp_path, "b", RUNS)])
        before, changes = dict(run.supervisor.processes), run.changes
        os.kill(before["a"], signal.SIGKILL)
        await run.until(lambda: any("is back" in line for line in run.said))
        assert run.pid("a") != before["a"]
        assert run.pid("b") == before["b"]
        assert run.changes > changes, "run.json is to be written again"

    run = supervised(work)
    log = tmp_path / "a.log"
    assert f"a: was ended by SIGKILL; starting again in 0.2 s (log: {log})" in run.said


def test_one_that_keeps_dying_is_started_less_and_less_often(tmp_path: Path) -> None:
    script = Script(tmp_path, "a", RUNS)

    async def work(run: Run) -> None:
        await run.supervisor.start([script])
        script.body = "sys.exit(4)"
        os.kill(run.pid("a"), signal.SIGKILL)
        await run.until(lambda: len(script.prepared) == 4)

    run = supervised(work)
    assert [line.split("again in ")[1][:3] for line in run.said if "again in" in line][:3] == [
        "0.2",
        "0.4",
        "0.8",
    ]
    assert any("ended with status 4" in line for line in run.said)


def test_one_that_dies_before_it_is_ready_ends_the_start(tmp_path: Path) -> None:
    async def work(run: Run) -> None:
        await run.supervisor.start(
            [Script(tmp_path, "good", RUNS), Script(tmp_path, "bad", "sys.exit('no settings')")]
        )

    with pytest.raises(StartError) as failed:
        supervised(work)
    assert str(failed.value).startswith("bad ended with status 1 before it was ready")
    assert "no settings" in str(failed.value)


def test_one_whose_cause_was_removed_is_tried_once_more(tmp_path: Path) -> None:
    script = Script(tmp_path, "a", "sys.exit(1)", forgives=True)

    async def work(run: Run) -> None:
        await run.supervisor.start([script])

    assert any("a: ready" in line for line in supervised(work).said)


def test_a_program_that_cannot_be_executed_is_explained(tmp_path: Path) -> None:
    class Absent(Script):
        def command(self) -> Command:
            return Command(("/nonexistent/program",), {}, self.folder)

    async def work(run: Run) -> None:
        await run.supervisor.start([Absent(tmp_path, "a", "")])

    with pytest.raises(StackError, match=r"a could not be started .*/nonexistent/program"):
        supervised(work)


def test_a_stop_is_in_reverse_order_and_lets_each_finish(tmp_path: Path) -> None:
    ends = (
        "def end(*_): time.sleep(0.2); open(here + '/ended', 'a').write('{0}\\n'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); ready(); time.sleep(60)"
    )

    async def work(run: Run) -> None:
        await run.supervisor.start([Script(tmp_path, "server", ends.format("server"))])
        await run.supervisor.start([Script(tmp_path, "stage", ends.format("stage"))])

    supervised(work)
    assert (tmp_path / "ended").read_text("utf-8").split() == ["stage", "server"]


@pytest.mark.parametrize("on_sigterm", ["signal.SIG_IGN", "lambda *_: sys.exit(0)"])
def test_what_a_stopped_one_has_started_ends_with_it(tmp_path: Path, on_sigterm: str) -> None:
    """Whether it had to be killed or ended by itself."""
    stubborn = (
        f"signal.signal(signal.SIGTERM, {on_sigterm})\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path(here + '/child').write_text(str(child.pid)); ready(); time.sleep(60)"
    )
    script = Script(tmp_path, "a", stubborn, stop_wait_s=0.5)
    pids: list[int] = []

    async def work(run: Run) -> None:
        await run.supervisor.start([script])
        pids.extend([run.pid("a"), int((tmp_path / "child").read_text("utf-8"))])

    supervised(work)
    end_s = time.monotonic() + 5
    while any(map(is_alive, pids)):
        assert time.monotonic() < end_s
        time.sleep(0.02)


def test_a_stop_while_one_waits_to_be_started_again_is_quick(tmp_path: Path) -> None:
    script = Script(tmp_path, "a", RUNS)
    stopped_s: list[float] = []

    async def work(run: Run) -> None:
        await run.supervisor.start([script])
        script.body = "sys.exit(1)"
        os.kill(run.pid("a"), signal.SIGKILL)
        await run.until(lambda: any("again in 0.8" in line for line in run.said))
        stopped_s.append(time.monotonic())

    supervised(work)
    assert time.monotonic() - stopped_s[0] < 0.5
    assert len(script.prepared) == 3


# A stage as the supervisor sees one: `services` on a path of our own, with its own READY=1.
FAKE_STAGE = """
import os, pathlib, socket, sys, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    notify.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
    if sys.argv[1] == "serve":
        listener = socket.socket(fileno=int(os.environ["TOLLGATE_LISTEN_FD"]))
        if pathlib.Path("slow").exists():
            time.sleep(0.5)
        notify.sendall(b"READY=1")
        while True:
            connection, _ = listener.accept()
            connection.sendall(str(os.getpid()).encode())
            connection.close()
    assert "TOLLGATE_LISTEN_FD" not in os.environ
    notify.sendall(b"READY=1")
time.sleep(60)
"""


def test_connections_wait_while_the_gateway_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "path" / "services"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()  # a package proper hides the installed one
    (package / "__main__.py").write_text(FAKE_STAGE, "utf-8")
    monkeypatch.chdir(tmp_path)

    async def ask(port: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = await reader.read()
        writer.close()
        return int(answer)

    async def work(run: Run) -> None:
        environ = {"PYTHONPATH": str(tmp_path / "path")}
        sockets = {name: NotifySocket(name) for name in (HTTP_STAGE, "dedup")}
        with listen_for_api(0, None) as api:
            await run.supervisor.start(
                [
                    Stage(
                        name,
                        tmp_path / f"{name}.log",
                        environ,
                        notify,
                        api.fileno() if name == HTTP_STAGE else None,
                    )
                    for name, notify in sockets.items()
                ]
            )
            port = api.getsockname()[1]
            before = run.pid(HTTP_STAGE)
            assert await ask(port) == before
            (tmp_path / "slow").touch()
            os.kill(before, signal.SIGKILL)
            await run.until(lambda: any("SIGKILL" in line for line in run.said))
            after = await ask(port)  # connects at once, is answered by the next process
            assert after == run.pid(HTTP_STAGE) != before
            await run.until(lambda: any("is back" in line for line in run.said))
        for notify in sockets.values():
            notify.close()

    supervised(work)
