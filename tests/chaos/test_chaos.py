"""Every fault of the nemesis once, under load, on the real stack: no event is lost or doubled.

`make chaos` does the same for as long as it is told to.
"""

import asyncio
from pathlib import Path

import pytest

from services.runtime.failpoint import POINTS
from tests.chaos.faults import FAILPOINTS, every_fault
from tests.chaos.run import run
from tests.chaos.world import World
from tests.integration.running import running

SEEDS = (1,)
EVENTS_PER_S = 400


# Every fault, the pauses between, the drain: two minutes, and more where the machine is busy.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_dies_every_event_is_counted_once(tmp_path: Path, seed: int) -> None:
    failpoints = tmp_path / "failpoints"
    failpoints.mkdir()
    with running(tmp_path, TOLLGATE_FAILPOINT_DIR=str(failpoints)) as tollgate:
        world = World(tollgate, failpoints, [tollgate.run["api_url"]])
        report = asyncio.run(run(tollgate, world, seed=seed, seconds=None, rate=EVENTS_PER_S))
    print(report)
    assert report.good, str(report)
    # Each was really done: what could not be was tried again, or ended the run.
    done = [(each.fault.kind, each.fault.target) for each in report.faults]
    assert sorted(done) == sorted((fault.kind, fault.target) for fault in every_fault())
    # The load was real: most of it was taken, in spite of everything.
    assert report.accepted > 10_000, str(report)


def test_every_failpoint_is_in_the_deck() -> None:
    deck = {point for points in FAILPOINTS.values() for point in points}
    assert deck == set(POINTS)
