"""`tollgate up` with the stages: seven processes, one address, restarts that nobody notices."""

import os
import signal
import time
import urllib.request
from pathlib import Path

from services.stack.stages import STAGES
from tests.stack.running import Up, is_alive, wait_until

BACK_WAIT_S_MAX = 30.0


def _health(url: str) -> int:
    with urllib.request.urlopen(f"{url}/healthz", timeout=BACK_WAIT_S_MAX) as answer:
        return int(answer.status)


def test_all_start_come_back_and_stop(tmp_path: Path) -> None:
    with Up(tmp_path / "data", "--port", "0") as up:
        before = up.pids
        assert set(before) == {"kafka", "redis", "postgres", *STAGES}
        assert _health(up.run["api_url"]) == 200
        for stage in STAGES:
            os.kill(before[stage], signal.SIGKILL)
        start_s = time.monotonic()
        assert _health(up.run["api_url"]) == 200, "it waited for the next gateway"
        assert time.monotonic() - start_s > 0.2, "no gateway was there to answer at once"
        wait_until(lambda: up.output.count("is back") == len(STAGES), BACK_WAIT_S_MAX)
        after = up.pids
        assert not {after[stage] for stage in STAGES} & set(before.values())
        assert up.stop() == 0
        assert not any(map(is_alive, after.values()))
    assert not (tmp_path / "data" / "run.json").exists()
