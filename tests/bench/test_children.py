"""What the bench starts ends with it: when it is cancelled, when it is told twice, when it is
killed. And what it reads to say what went wrong.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.bench import children
from tests.bench.stack import Stack

WAIT_S = 20.0
# Writes its number, and would stay; `{deaf}` to being asked to end.
_STAYS = """
import os, pathlib, signal, sys, time
if {deaf}: signal.signal(signal.SIGTERM, signal.SIG_IGN)
path = pathlib.Path(sys.argv[1])
path.with_suffix(".new").write_text(str(os.getpid()))
path.with_suffix(".new").rename(path)
time.sleep(600)
"""
_PARENT = """
import asyncio, sys
from tests.bench import children
from tests.bench.__main__ import until_stopped

async def work():
    await children.start(sys.executable, "-c", sys.argv[1], sys.argv[2])
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:  # so that only the second signal ends it
            pass

asyncio.run(until_stopped(work()))
"""


async def pid_in(path: Path) -> int:
    """What a child has written."""
    deadline = time.monotonic() + WAIT_S
    while not path.exists():
        assert time.monotonic() < deadline, "the child did not start"
        await asyncio.sleep(0.01)
    return int(path.read_text())


async def gone(pid: int) -> bool:
    """Whether a process ends, soon."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":  # ended; whoever it was left to has not asked for its status
            return True
        await asyncio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return False


@pytest.mark.parametrize("deaf", [False, True])
def test_a_command_that_is_cancelled_is_not_left_behind(tmp_path: Path, deaf: bool) -> None:
    async def run() -> None:
        said = tmp_path / "pid"
        words = sys.executable, "-c", _STAYS.format(deaf=deaf), str(said)
        running = asyncio.create_task(children.output(*words, wait_s=600))
        pid = await pid_in(said)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await gone(pid)

    asyncio.run(run())


def test_a_command_that_takes_too_long_is_not_left_behind(tmp_path: Path) -> None:
    async def run() -> None:
        said = tmp_path / "pid"
        words = sys.executable, "-c", _STAYS.format(deaf=True), str(said)
        with pytest.raises(TimeoutError):
            await children.output(*words, wait_s=1.0)
        assert await gone(await pid_in(said))

    asyncio.run(run())


def test_what_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    async def run() -> None:
        said = tmp_path / "pid"
        process = await children.start(sys.executable, "-c", _STAYS.format(deaf=True), str(said))
        pid = await pid_in(said)
        assert await children.end(process, wait_s=0.1) is None
        assert await gone(pid)

    asyncio.run(run())


def test_it_is_killed_too_when_the_waiting_is_cancelled(tmp_path: Path) -> None:
    async def run() -> None:
        said = tmp_path / "pid"
        process = await children.start(sys.executable, "-c", _STAYS.format(deaf=True), str(said))
        pid = await pid_in(said)
        ending = asyncio.create_task(children.end(process, wait_s=600))
        await asyncio.sleep(0.05)
        ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert await gone(pid)

    asyncio.run(run())


@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGTERM, signal.SIGTERM]])
def test_children_end_with_the_bench(tmp_path: Path, signals: list[signal.Signals]) -> None:
    async def run() -> None:
        said = tmp_path / "pid"
        words = [sys.executable, "-c", _PARENT, _STAYS.format(deaf=True), str(said)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as bench:
            try:
                pid = await pid_in(said)
                for number in signals:
                    bench.send_signal(number)
                    await asyncio.sleep(0.1)
                assert await asyncio.to_thread(bench.wait, WAIT_S) != 0
            finally:
                bench.kill()
        assert await gone(pid)

    asyncio.run(run())


def test_complaints_are_of_logs_and_not_of_the_data_of_kafka(tmp_path: Path) -> None:
    (tmp_path / "up.out").write_text("tollgate  starting\n")
    for path, text in {
        "logs/projector.log": "x INFO well\ny ERROR lost the way\nTraceback\n",
        "gateway-2.log": "z ERROR no port\n",
        "kafka/data/usage.raw-0/00000000000000000000.log": "an event with ERROR in it\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    said = Stack(tmp_path).complaints()
    assert "lost the way\nTraceback" in said
    assert "no port" in said
    assert "an event" not in said
