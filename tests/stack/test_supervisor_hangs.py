"""A program that hangs while it is started again is not waited for without end."""

import os
import signal
from pathlib import Path

import pytest

from tests.stack.running import is_alive
from tests.stack.test_supervisor import RUNS, Run, Script, supervised


def test_one_that_is_not_ready_after_its_restart_is_killed_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Script(tmp_path, "a", RUNS)
    hung: list[int] = []

    async def work(run: Run) -> None:
        await run.supervisor.start([script])
        monkeypatch.setattr("services.stack.supervisor.START_WAIT_S_MAX", 0.5)
        script.body = "time.sleep(60)"
        first = run.pid("a")
        os.kill(first, signal.SIGKILL)
        await run.until(lambda: run.supervisor.processes not in ([], [("a", first)]))
        hung.append(run.pid("a"))
        await run.until(lambda: any("was not ready within" in line for line in run.said))
        monkeypatch.setattr("services.stack.supervisor.START_WAIT_S_MAX", 60.0)
        script.body = RUNS
        await run.until(lambda: any("is back" in line for line in run.said))
        await run.until(lambda: not is_alive(hung[0]))
        assert run.pid("a") != hung[0]

    supervised(work)
