"""Replays in the middle of everything: started, killed, resumed, promoted, rolled back; and the
second witness at the end, which counts the whole log once more.
"""

import asyncio
import random
import signal
import subprocess
import sys
import time
from typing import Any

from services.runtime.json import decode_json
from tests.chaos.world import NotDone
from tests.integration.client import Tollgate

# Servers that were just killed come back meanwhile.
_PATIENCE_S = 90.0
# Into the counting, on most machines; a replay that is through by then is not killed.
_KILLED_AFTER_S = (0.6, 2.5)
_SAME, _DIFFERENT = 0, 1


def command(tollgate: Tollgate, *words: str) -> "subprocess.CompletedProcess[str]":
    """One `tollgate replay` command."""
    return subprocess.run(
        [sys.executable, "-m", "services", "replay", *words, "--data-dir", str(tollgate.data_dir)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def patiently(tollgate: Tollgate, *words: str) -> str:
    """The command, again until it is done: it says why when a server is away. Its output."""
    deadline = time.monotonic() + _PATIENCE_S
    while (done := command(tollgate, *words)).returncode not in {_SAME, _DIFFERENT}:
        assert time.monotonic() < deadline, f"replay {' '.join(words)}: {done.stderr}"
        time.sleep(0.3)
    return done.stdout


def generations(tollgate: Tollgate) -> list[dict[str, Any]]:
    """What `replay status` lists."""
    found: list[dict[str, Any]] = decode_json(patiently(tollgate, "status", "--json"))[
        "generations"
    ]
    return found


async def replay_and_promote(tollgate: Tollgate, source: str, choice: random.Random) -> str:
    """Start a replay, kill it somewhere, resume and promote it."""
    killed_after_s = choice.uniform(*_KILLED_AFTER_S)
    return await asyncio.to_thread(_replay_and_promote, tollgate, source, killed_after_s)


def _replay_and_promote(tollgate: Tollgate, source: str, killed_after_s: float) -> str:
    known = {generation["id"] for generation in generations(tollgate)}
    words = ["replay", "start", "--all", "--from", source, "--data-dir", str(tollgate.data_dir)]
    with subprocess.Popen(
        [sys.executable, "-m", "services", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as started:
        try:
            started.communicate(timeout=killed_after_s)
            how = f"ended with {started.returncode}"
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGKILL)
            started.communicate()
            how = f"killed after {killed_after_s:.1f} s"
    made = [g["id"] for g in generations(tollgate) if g["id"] not in known]
    if not made:
        raise NotDone(f"the replay {how} before it began")
    patiently(tollgate, "promote", str(made[-1]))
    return f"{how}; generation {made[-1]} is live"


async def roll_back(tollgate: Tollgate, choice: random.Random) -> str:
    """Back to the generation before; where there is none, another is promoted first."""
    killed_after_s = choice.uniform(*_KILLED_AFTER_S)
    return await asyncio.to_thread(_roll_back, tollgate, killed_after_s)


def _roll_back(tollgate: Tollgate, killed_after_s: float) -> str:
    [live] = [g for g in generations(tollgate) if g["state"] == "LIVE"]
    first = ""
    if live["predecessor"] is None:
        first = _replay_and_promote(tollgate, "unique", killed_after_s) + "; "
    return first + patiently(tollgate, "rollback").strip()


def second_witness(tollgate: Tollgate) -> list[str]:
    """Count usage.raw afresh, with no help of what was counted; what differs on the invoices."""
    generation = patiently(tollgate, "start", "--all", "--from", "raw").split()[1]
    found = decode_json(patiently(tollgate, "diff", generation, "--json"))
    differences = [f"a replay from raw differs: {d}" for d in found["differences"]]
    if found["fates"]["live"] != found["fates"]["replayed"]:
        differences.append(f"a replay from raw finds other fates: {found['fates']}")
    patiently(tollgate, "drop", generation)
    return differences
