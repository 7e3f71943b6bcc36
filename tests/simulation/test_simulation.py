"""Thousands of seeded runs of the real stages under every fault: what was answered 200 is counted
once, everything else at most once, and every aggregate is the oracle's.
"""

import pickle
import subprocess
import sys
from hashlib import sha256

import pytest

from tests.simulation.profile import FAULTS
from tests.simulation.run import explained, processes_here, run_many
from tests.simulation.simulation import Outcome, simulate
from tests.simulation.test_controls import mark_that_is_not_checked

SEEDS = 2_400
BLOCK = 600  # seeds a test, so that each is done in moments


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_every_seed_keeps_every_promise(first: int) -> None:
    tally = run_many(range(first, first + BLOCK), processes_here())
    print(tally)
    assert not tally.failed, "\n\n".join(explained(outcome) for outcome in tally.failed[:3])
    # A fault that never strikes proves nothing.
    assert all(tally.injected[fault] > 20 for fault in FAULTS), tally
    assert tally.injected["promoted"] > 20, tally
    assert tally.events > 10 * BLOCK


def digest(outcome: Outcome) -> str:
    """Stands for every decision of a run."""
    return sha256("\n".join(outcome.trace).encode()).hexdigest()


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_a_seed_gives_the_same_run_every_time(seed: int) -> None:
    assert digest(simulate(seed)) == digest(simulate(seed))


def test_a_failure_in_another_process_is_told_with_its_seed_and_trace() -> None:
    with mark_that_is_not_checked():
        failed = next(each for each in map(simulate, range(200)) if each.failure is not None)
    told = explained(pickle.loads(pickle.dumps(failed)))
    assert str(failed.failure) in told
    assert failed.trace[-1] in told
    assert f"make simulate SEED={failed.seed}" in told


def test_a_seed_gives_the_same_run_in_another_process() -> None:
    """Hashes of text differ from process to process: nothing may hang on the order of a set."""
    program = (
        "from tests.simulation.test_simulation import digest, simulate\n"
        "print(*[digest(simulate(seed)) for seed in range(40)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": number},
            capture_output=True,
            check=True,
            timeout=120,
        ).stdout
        for number in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().decode().split() == [digest(simulate(seed)) for seed in range(40)]
