"""A stage as a process: one whose loop stands still ends and says where."""

import subprocess
import sys

_STAGE = """
import asyncio, time
from services.runtime import process
process.LOOP_STALL_S_MAX = {limit}
async def stage(settings, stopping):
    await asyncio.sleep(0.1)
    {act}
raise SystemExit(process.run_stage("test", stage, []))
"""
_ENVIRONMENT = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "REDIS_URL": "redis://127.0.0.1:1",
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
}


def ended(limit: str, act: str) -> "subprocess.CompletedProcess[str]":
    """A process whose stage does `act`."""
    return subprocess.run(
        [sys.executable, "-c", _STAGE.format(limit=limit, act=act)],
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_loop_that_stands_still_ends_the_process_and_shows_where() -> None:
    done = ended("1.0", "time.sleep(50)")
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "in stage" in done.stderr


def test_a_loop_that_turns_is_left_alone() -> None:
    done = ended("0.5", "await asyncio.sleep(2)")
    assert done.returncode == 0, done.stderr
