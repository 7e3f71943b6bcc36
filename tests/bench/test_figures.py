"""How many measured numbers become one, and when requests are due."""

import os

import pytest

from tests.bench.figures import TARGETS, Target, percentile, slope, spread, table
from tests.bench.processes import cpu_seconds, pss_bytes, trees
from tests.bench.results import OTHERS, Results
from tests.bench.schedule import ClosedLoop, OpenLoop


def test_a_percentile_is_a_measured_value_by_nearest_rank() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0.5, 0.99, 0.999, 1.0)] == [50, 99, 100, 100]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.999) == 7.0
    assert percentile([3, 1, 2], 0.5) == 2


def test_a_spread_of_nothing_says_so() -> None:
    assert spread([]) == {"count": 0}


def test_a_slope_is_that_of_the_line() -> None:
    assert slope([(x, 3 * x + 1) for x in range(10)]) == pytest.approx(3)
    assert slope([(1, 5)]) == slope([(1, 5), (1, 6)]) == 0


def test_a_target_has_a_direction() -> None:
    fast, small = Target(10, 20, more=True), Target(10, 5, more=False)
    assert [fast.met(v) for v in (9, 10)] == [False, True]
    assert [small.met(v) for v in (11, 10)] == [False, True]
    assert fast.aim_met(20)
    assert small.aim_met(5)
    assert not small.aim_met(6)


def test_the_table_has_a_line_for_every_figure() -> None:
    lines = table({"accepted_per_s": 1.0, "cpu_us_per_event": 40.0}).splitlines()
    assert len(lines) == len(TARGETS) + 1
    assert lines[1].endswith("MISSED")
    assert sum("not measured" in line for line in lines) == len(TARGETS) - 2
    assert any("cpu_us_per_event" in line and line.endswith("ok") for line in lines)


def test_an_open_loop_keeps_its_times_whatever_the_answers_do() -> None:
    prompt, stalled = OpenLoop(100.0, 1_000), OpenLoop(100.0, 1_000)
    due = []
    now = 0.0
    while (wait := prompt.wait_s(now)) is not None:
        now += wait
        taken = prompt.take(now)
        assert taken is not None
        due.append(taken)
    assert [stalled.take(1e9) for _ in range(1_000)] == due
    assert stalled.take(1e9) is None
    assert due == sorted(due)
    assert due[-1] == pytest.approx(10, rel=0.15)


def test_a_closed_loop_ends_by_time_or_by_count() -> None:
    timed, counted = ClosedLoop(seconds=5.0), ClosedLoop(count=2)
    assert timed.take(4.9) == 4.9
    assert timed.take(5.0) is None
    assert timed.wait_s(5.0) is None
    assert [counted.take(1.0) for _ in range(3)] == [1.0, 1.0, None]
    assert counted.wait_s(1.0) is None


def test_a_process_belongs_to_its_nearest_root() -> None:
    found = trees({"parent": os.getppid(), "own": os.getpid()})
    assert os.getpid() in found["own"]
    assert os.getpid() not in found["parent"]
    assert cpu_seconds({"own": os.getpid()})["own"] > 0
    assert pss_bytes({"own": os.getpid()})["own"] > 1_000_000


def test_what_others_took_is_found_wherever_a_run_says_it() -> None:
    results = Results()
    assert results.others_cores() == 0
    results.add("a", {"figures": {}, "runs": [{OTHERS: 0.5}, {"run": {OTHERS: 1.5}}]})
    results.add("b", {"figures": {"accepted_per_s": 2.0}, OTHERS: 0.1})
    assert results.others_cores() == 1.5
    results.discard(["b"])
    assert results.figures()["accepted_per_s"] is None
