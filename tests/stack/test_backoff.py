"""The wait before a process that died is started again."""

import pytest

from services.stack.backoff import ALIVE_S_RESET, DELAY_S_MAX, Backoff


def _delays(alive_s: list[float]) -> list[float]:
    backoff, delays = Backoff(), []
    for seconds in alive_s:
        backoff = backoff.after_death(seconds)
        delays.append(backoff.delay_s)
    return delays


def test_it_doubles_from_a_fifth_of_a_second_to_five_seconds() -> None:
    assert _delays([0.0] * 7) == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])


def test_a_process_that_had_run_well_is_started_again_at_once() -> None:
    assert _delays([0.0, 0.0, ALIVE_S_RESET, 0.0]) == pytest.approx([0.2, 0.4, 0.2, 0.4])


def test_just_under_the_limit_is_not_running_well() -> None:
    assert _delays([0.0, ALIVE_S_RESET - 0.001]) == pytest.approx([0.2, 0.4])


def test_no_death_no_wait() -> None:
    assert Backoff().delay_s == 0.0


def test_a_thousand_deaths_do_not_overflow() -> None:
    assert _delays([0.0] * 2000)[-1] == DELAY_S_MAX
