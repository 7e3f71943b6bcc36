"""Billing periods are calendar months in UTC, half-open; summer time changes nothing."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.period import (
    draft_months,
    month_start,
    next_month,
)


class Berlin(tzinfo):
    """Central European time in 2026 (summer time from 29 March to 25 October, at 01:00 UTC), so
    that the test needs no time zone database."""

    def utcoffset(self, at: datetime | None) -> timedelta:
        assert at is not None
        local = at.replace(tzinfo=None)
        summer = datetime(2026, 3, 29, 2) <= local < datetime(2026, 10, 25, 3)  # noqa: DTZ001 (local)
        return timedelta(hours=2 if summer else 1)

    def dst(self, at: datetime | None) -> timedelta:
        return self.utcoffset(at) - timedelta(hours=1)

    def tzname(self, at: datetime | None) -> str:
        return "CET" if not self.dst(at) else "CEST"


def utc(year: int, month: int, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


instants = st.datetimes(
    datetime(2000, 1, 1),  # noqa: DTZ001 (Hypothesis wants them naive)
    datetime(2100, 1, 1),  # noqa: DTZ001 (Hypothesis wants them naive)
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=12))]),
)


@given(instants)
def test_an_instant_is_in_exactly_one_month(instant: datetime) -> None:
    start = month_start(instant)
    assert start <= instant < next_month(start)
    assert (start.day, start.hour, start.tzinfo) == (1, 0, UTC)
    assert month_start(next_month(start) - timedelta(microseconds=1)) == start


@pytest.mark.parametrize(
    ("start", "days"),
    [
        (utc(2026, 1), 31),
        (utc(2026, 2), 28),
        (utc(2028, 2), 29),  # a leap year
        (utc(2100, 2), 28),  # not one, though divisible by 4
        (utc(2000, 2), 29),
        (utc(2026, 4), 30),
        (utc(2026, 12), 31),
    ],
)
def test_the_length_of_a_month(start: datetime, days: int) -> None:
    assert next_month(start) - start == timedelta(days=days)


@pytest.mark.parametrize("month", [3, 10])
def test_summer_time_changes_no_month(month: int) -> None:
    """A month has its 744 hours, and an instant is in its month of UTC whatever zone it is in."""
    start = month_start(datetime(2026, month, 15, 12, tzinfo=Berlin()))
    assert start == utc(2026, month)
    assert (next_month(start) - start) / timedelta(hours=1) == 744
    assert month_start(datetime(2026, month, 1, 0, 30, tzinfo=Berlin())) == utc(2026, month - 1)
    edge = next_month(start)
    assert month_start(edge.astimezone(Berlin())) == edge


def test_drafts_go_back_thirteen_months_and_up_to_the_current_one() -> None:
    months = draft_months(utc(2000, 1), None, utc(2026, 11, 24, 12))
    assert months[0] == utc(2025, 10)
    assert months[-1] == utc(2026, 11)
    assert len(months) == 14


@pytest.mark.parametrize(
    ("begins", "ends", "expected"),
    [
        (utc(2026, 11, 24), None, [utc(2026, 11)]),
        (utc(2026, 9, 30), None, [utc(2026, 9), utc(2026, 10), utc(2026, 11)]),
        (utc(2026, 9, 30), utc(2026, 10, 2), [utc(2026, 9), utc(2026, 10)]),
        (utc(2026, 9, 30), utc(2026, 10), [utc(2026, 9)]),
        (utc(2026, 12), None, []),
        (utc(2026, 11, 30), None, [utc(2026, 11)]),  # later in this month: its draft is there
    ],
)
def test_the_months_that_have_a_draft(
    begins: datetime, ends: datetime | None, expected: list[datetime]
) -> None:
    assert draft_months(begins, ends, utc(2026, 11, 24, 12)) == expected
