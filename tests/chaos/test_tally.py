"""The checker's own negative control: what is planted in the counts is found, and named."""

from decimal import Decimal

import pytest

from tests.chaos.tally import BATCH_EVENTS, Group, Tally, Told, judge

ONCE = Group(BATCH_EVENTS, Decimal("1" * BATCH_EVENTS))
NONE = Group(0, Decimal(0))


def told(**statuses: int) -> Tally:
    """A tally of batches that were answered so."""
    tally = Tally()
    for batch, status in statuses.items():
        tally.sent(batch)
        tally.answered(batch, status)
    return tally


def changed(number: int, by: int) -> Group:
    """ONCE, but for one event that was counted more or less often."""
    return Group(ONCE.count + by, Decimal(int(ONCE.total) + by * 10**number))


def test_what_was_told_and_counted_alike_is_good() -> None:
    tally = told(a=200, b=400, c=503, d=503)
    assert judge(tally, {"a": ONCE, "d": ONCE}).good
    assert judge(tally, {"a": ONCE, "c": changed(7, -1)}).good


@pytest.mark.parametrize("number", [0, 7, BATCH_EVENTS - 1])
def test_a_lost_event_is_named(number: int) -> None:
    verdict = judge(told(a=200, b=200), {"a": changed(number, -1), "b": ONCE})
    assert (verdict.lost, verdict.doubled, verdict.unexpected) == ([f"a.{number}"], [], [])
    assert f"a.{number}" in str(verdict)


@pytest.mark.parametrize("number", [0, 7, BATCH_EVENTS - 1])
@pytest.mark.parametrize("status", [200, 503])
def test_a_doubled_event_is_named(number: int, status: int) -> None:
    verdict = judge(told(a=status), {"a": changed(number, 1)})
    assert (verdict.lost, verdict.doubled, verdict.unexpected) == ([], [f"a.{number}"], [])


def test_a_double_does_not_hide_a_loss() -> None:
    """With powers of two, twice the one is the other."""
    group = Group(ONCE.count, Decimal(int(ONCE.total) + 10**3 - 10**4))
    verdict = judge(told(a=200), {"a": group})
    assert (verdict.lost, verdict.doubled) == (["a.4"], ["a.3"])


def test_a_whole_batch_that_is_gone_is_lost() -> None:
    assert len(judge(told(a=200), {}).lost) == BATCH_EVENTS


def test_what_was_refused_or_never_sent_must_not_count() -> None:
    assert len(judge(told(a=400), {"a": ONCE}).unexpected) == BATCH_EVENTS
    assert judge(told(), {"conflict": Group(1, Decimal(1))}).unexpected == ["conflict: never sent"]


def test_a_total_that_no_events_can_have_is_found() -> None:
    tally = told(a=200)
    assert not judge(tally, {"a": Group(ONCE.count + 1, ONCE.total)}).good
    assert not judge(tally, {"a": Group(ONCE.count, Decimal(f"{ONCE.total}.5"))}).good
    assert not judge(tally, {"a": Group(10, Decimal(10) ** BATCH_EVENTS)}).good


def test_a_200_holds_whatever_comes_after_it() -> None:
    tally = told(a=200)
    tally.answered("a", 503)
    assert tally.told["a"] is Told.ACCEPTED
    assert tally.events(Told.ACCEPTED) == BATCH_EVENTS
    with pytest.raises(AssertionError):
        tally.answered("a", 400)
