"""One whole Tollgate for these tests, started as a user starts it, on servers of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.client import Tollgate

# Whatever the environment names, these tests start everything themselves.
_SERVERS = {"KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "DATABASE_URL", "TOLLGATE_DATA_DIR"}


@pytest.fixture(scope="session")
def tollgate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tollgate]:
    """A running `tollgate up`; the end of the run also checks that it stops in order."""
    data_dir = tmp_path_factory.mktemp("tollgate")
    environment = {name: value for name, value in os.environ.items() if name not in _SERVERS}
    command = [sys.executable, "-m", "services", "up", "--data-dir", str(data_dir), "--port", "0"]
    log = (data_dir / "up.out").open("w+b")
    with log, subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if line.startswith(b"tollgate is ready"):
                break
        else:
            pytest.fail(f"tollgate up did not start; its logs are in {data_dir}/logs")
        yield Tollgate(Path(data_dir))
        up.terminate()
        assert up.wait(60) == 0
        assert not (data_dir / "run.json").exists()
