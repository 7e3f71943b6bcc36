"""`tollgate up` as a process of its own, for tests: started with nothing of the machine's."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

REPOSITORY = Path(__file__).parents[2]
# The first start on a machine fetches Kafka; any other takes a few seconds.
START_WAIT_S_MAX = 150.0
STOP_WAIT_S_MAX = 30.0
READY = "tollgate is ready"


def bare_environ(**more: str) -> dict[str, str]:
    """An environment in which no java, psql, postgres, redis-server or docker can be found."""
    hidden = {
        "JAVA_HOME",
        "KAFKA_BOOTSTRAP_SERVERS",
        "REDIS_URL",
        "DATABASE_URL",
        "TOLLGATE_DATA_DIR",
        "TOLLGATE_REDIS_SERVER",
        "TOLLGATE_KAFKA_HEAP",
    }
    environ = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**environ, "PATH": "/nonexistent", "PYTHONPATH": str(REPOSITORY), **more}


class Up:
    """A running `tollgate up`."""

    def __init__(
        self,
        data_dir: Path,
        *options: str,
        before: Sequence[str] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir
        self._output_path = data_dir.with_name(f"{data_dir.name}.out")
        arguments = ["-m", "services.stack.up", "--data-dir", str(data_dir), *options]
        with self._output_path.open("wb") as output:
            self.process = subprocess.Popen(
                [*before, sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=data_dir.parent,
                env=environ or bare_environ(),
            )

    def __enter__(self) -> Self:
        try:
            wait_until(lambda: READY in self.output or self.process.poll() is not None)
            assert self.process.poll() is None, self.output
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.stop()

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output_path.read_text(encoding="utf-8")

    @property
    def run(self) -> dict[str, Any]:
        """Its run.json."""
        run: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text("utf-8"))
        return run

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name, as run.json has them."""
        return {process["name"]: process["pid"] for process in self.run["processes"]}

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_WAIT_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """kill -9, of the supervisor alone."""
        self.process.kill()
        self.process.wait()


def refused(data_dir: Path, *options: str, **environ: str) -> str:
    """The output of a `tollgate up` that must end with status 1 by itself."""
    ended = subprocess.run(
        [sys.executable, "-m", "services.stack.up", "--data-dir", data_dir, *options],
        capture_output=True,
        text=True,
        timeout=60,
        env=bare_environ(**environ),
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def wait_until(condition: Callable[[], bool], seconds: float = START_WAIT_S_MAX) -> None:
    """Poll until the condition holds; fails after so many seconds."""
    end_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end_s, f"did not happen within {seconds:.0f} s"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
