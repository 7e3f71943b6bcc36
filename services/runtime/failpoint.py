"""Named places at which a test can have a running process killed. Does nothing in production.

A test arms one by creating the file `<stage>.<point>` in the folder of TOLLGATE_FAILPOINT_DIR. The
process that gets there next removes the file and kills itself, as kill -9 does: nothing is flushed,
closed or answered. Never changes what a stage does otherwise.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Literal, get_args

Point = Literal[
    "after_poll",  # records were read; nothing is done with them yet
    "after_claim",  # dedup: the ids are in the index, the range is not in usage.unique
    "before_send",  # a record is complete, Kafka has not seen it
    "after_send",  # Kafka has acknowledged it, nobody here has noted that
    "before_commit",  # projector: the flush is written, its transaction still open
    "after_commit",  # projector: the flush is committed, the process has not noted that
    "before_pricing_commit",  # projector: drafts are priced, their transaction still open
    "after_pricing_commit",  # projector: drafts are committed, the process has not noted that
    "before_final_commit",  # projector: invoices are finalized, their transaction still open
    "after_final_commit",  # projector: that is committed, the process has not noted it
    "before_reply",  # gateway: all is acknowledged, the client has not been told
    "after_reply",  # gateway: the client has its 200
]
POINTS: tuple[Point, ...] = get_args(Point)
# asyncio hands an answer to the kernel at the end of the loop's turn.
_FLUSH_S = 0.005


class _Armed:
    """Which folder this process looks into; none unless it was started so."""

    folder: Path | None = None
    stage = ""


def watch(stage: str, folder: Path | None) -> None:
    """Called once at start; None switches all of it off."""
    _Armed.stage = stage
    _Armed.folder = folder


def reach(point: Point) -> None:
    """Die here, if a test has armed this point."""
    if _Armed.folder is not None:
        _die_if_armed(_Armed.folder / f"{_Armed.stage}.{point}")


def reach_soon(point: Point) -> None:
    """As `reach`, once what was just written is on its way to the client."""
    if _Armed.folder is not None:
        asyncio.get_running_loop().call_later(_FLUSH_S, reach, point)


def _die_if_armed(path: Path) -> None:
    try:
        path.unlink()  # of several processes, the one whose unlink succeeds
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
