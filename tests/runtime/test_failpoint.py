"""A failpoint kills the process that reaches it when it is armed, once, and nothing else."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.failpoint import POINTS

_PROGRAM = """
import sys
from pathlib import Path
from services.runtime.failpoint import reach, watch
if sys.argv[1]:
    watch("dedup", Path(sys.argv[1]))
reach(sys.argv[2])
print("alive")
"""


def reached(folder: Path | str, point: str) -> "subprocess.CompletedProcess[str]":
    """A process of the stage `dedup` that passes one point and says that it lives."""
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(folder), point],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("point", POINTS)
def test_an_armed_point_kills_once(tmp_path: Path, point: str) -> None:
    armed = tmp_path / f"dedup.{point}"
    armed.touch()
    assert reached(tmp_path, point).returncode == -signal.SIGKILL
    assert not armed.exists()
    assert reached(tmp_path, point).stdout == "alive\n"


def test_another_stage_another_point_and_no_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("rating.after_claim", "dedup.after_send"):
        (tmp_path / name).touch()
    (tmp_path / "dedup.after_claim").touch()
    assert reached("", "after_claim").stdout == "alive\n"
    (tmp_path / "dedup.after_claim").unlink()
    assert reached(tmp_path, "after_claim").stdout == "alive\n"
    assert len(list(tmp_path.iterdir())) == 2
