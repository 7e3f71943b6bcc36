"""`tollgate up` as a user starts it, on servers and in a directory of its own, for as long as a
test needs it. Its output goes to a file: a pipe that nobody reads would stop it one day.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.client import Tollgate

# Whatever the environment names, these tests start everything themselves.
_SERVERS = {"KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "DATABASE_URL", "TOLLGATE_DATA_DIR"}
# The first start on a machine fetches Kafka; any other takes a few seconds.
START_S_MAX = 150.0
STOP_S_MAX = 60.0


@contextmanager
def running(data_dir: Path, **environ: str) -> Iterator[Tollgate]:
    """A running Tollgate; leaving it also checks that it stops in order."""
    environment = {name: value for name, value in os.environ.items() if name not in _SERVERS}
    command = [sys.executable, "-m", "services", "up", "--data-dir", str(data_dir), "--port", "0"]
    output = data_dir / "up.out"
    with (
        output.open("wb") as lines,
        subprocess.Popen(command, stdout=lines, stderr=lines, env={**environment, **environ}) as up,
    ):
        try:
            _wait_ready(up, output)
            yield Tollgate(data_dir)
        except BaseException:
            _end(up)
            print(output.read_text()[-5_000:])  # it may say what was wrong with itself
            raise
        up.terminate()
        assert up.wait(STOP_S_MAX) == 0, output.read_text()
        assert not (data_dir / "run.json").exists()


def _end(up: "subprocess.Popen[bytes]") -> None:
    """In order, if it can; its children go with it in any case."""
    up.terminate()
    try:
        up.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        up.kill()


def _wait_ready(up: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while "tollgate is ready" not in output.read_text():
        assert up.poll() is None, f"tollgate up did not start:\n{output.read_text()}"
        assert time.monotonic() < deadline, f"not ready in time:\n{output.read_text()}"
        time.sleep(0.05)
