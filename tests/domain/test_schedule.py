"""Billing periods against a calendar walked day by day; clipping, leap days, summer time."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.period import Period, draft_months, next_month, oldest_draft_month
from services.domain.reference.calendar import Days, periods_by_day
from services.domain.schedule import (
    BilledPeriod,
    BillingCycle,
    BillingFrequency,
    Schedule,
    add_months,
)
from tests.domain.pricing_cases import THOROUGH
from tests.domain.test_period import Berlin

DAY = timedelta(days=1)
MONTHLY, QUARTERLY, ANNUAL, WEEKLY = BillingFrequency
CALENDAR, ANNIVERSARY = BillingCycle


def utc(year: int, month: int, day: int = 1, hour: int = 0) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


days = st.integers(0, 1600).map(lambda n: utc(2026, 12) + n * DAY) | st.sampled_from(
    [utc(2028, 2, 29), utc(2027, 1, 31), utc(2027, 12, 31), utc(2028, 12, 30)]
)
schedules = st.builds(
    Schedule,
    st.sampled_from(BillingFrequency),
    st.sampled_from(BillingCycle),
    days,
    trial_days=st.sampled_from([0, 0, 1, 14, 60, 400]),
)


def as_days(period: BilledPeriod) -> Days:
    whole = period.days_held if period.trial else period.days_whole
    return Days(period.held.start, period.held.end, whole, period.number, period.trial)


@THOROUGH
@given(schedules, st.integers(1, 900), st.booleans())
def test_periods_are_those_of_the_calendar(
    schedule: Schedule, length: int, open_ended: bool
) -> None:
    ends = schedule.begins + length * DAY
    wanted = list(
        periods_by_day(
            schedule.frequency, schedule.cycle, (schedule.begins, ends), schedule.trial_days
        )
    )
    if open_ended:  # the last period is cut only by the question
        found = [as_days(each) for each in schedule.periods(schedule.begins, ends)]
        assert found[:-1] == wanted[:-1]
        assert found[-1].start == wanted[-1].start
        assert found[-1]._replace(end=ends) == wanted[-1] or found[-1].trial
        return
    ended = Schedule(schedule.frequency, schedule.cycle, schedule.begins, ends, schedule.trial_days)
    assert [as_days(each) for each in ended.periods(schedule.begins, ends)] == wanted
    assert list(ended.periods(schedule.begins, ends + 999 * DAY)) == list(
        ended.periods(schedule.begins, ends)
    )


@given(schedules, st.integers(0, 900 * 24), st.integers(0, 900))
def test_an_instant_is_in_the_period_that_covers_it(
    schedule: Schedule, hours: int, length: int
) -> None:
    instant = schedule.begins + timedelta(hours=hours)
    period = schedule.period_at(instant)
    assert period is not None
    assert period.held.start <= instant < period.held.end
    assert period in list(schedule.periods(instant, instant + DAY))
    if not period.trial:
        assert schedule.period(period.number) == period
    ends = schedule.begins + (length + 1) * DAY
    ended = Schedule(schedule.frequency, schedule.cycle, schedule.begins, ends, schedule.trial_days)
    assert (ended.period_at(instant) is None) is (instant >= ends)
    assert ended.period_at(schedule.begins - timedelta(microseconds=1)) is None


@given(schedules)
def test_periods_follow_each_other_without_gap_or_overlap(schedule: Schedule) -> None:
    found = list(schedule.periods(schedule.begins, schedule.begins + 1200 * DAY))
    assert found[0].held.start == schedule.begins
    assert all(a.held.end == b.held.start for a, b in pairwise(found))
    regular = [each for each in found if not each.trial]
    assert [each.number for each in regular] == list(range(len(regular)))
    assert all(each.days_held == each.days_whole for each in regular[1:])


def starts(schedule: Schedule, count: int) -> list[str]:
    found = (schedule.period(number) for number in range(count))
    return [f"{each.held.start:%Y-%m-%d}" for each in found if each]


def test_the_31st_is_clipped_and_does_not_drift() -> None:
    schedule = Schedule(MONTHLY, ANNIVERSARY, utc(2027, 12, 31))
    assert starts(schedule, 5) == [
        "2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30",
    ]  # fmt: skip


def test_a_leap_day_comes_back_in_leap_years() -> None:
    schedule = Schedule(ANNUAL, ANNIVERSARY, utc(2028, 2, 29))
    assert starts(schedule, 5) == [
        "2028-02-29", "2029-02-28", "2030-02-28", "2031-02-28", "2032-02-29",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("frequency", "cycle", "expected"),
    [
        (MONTHLY, CALENDAR, ["2026-11-18", "2026-12-01", "2027-01-01"]),
        (QUARTERLY, CALENDAR, ["2026-11-18", "2027-01-01", "2027-04-01"]),
        (ANNUAL, CALENDAR, ["2026-11-18", "2027-01-01", "2028-01-01"]),
        (WEEKLY, CALENDAR, ["2026-11-18", "2026-11-23", "2026-11-30"]),  # Mondays
        (MONTHLY, ANNIVERSARY, ["2026-11-18", "2026-12-18", "2027-01-18"]),
        (QUARTERLY, ANNIVERSARY, ["2026-11-18", "2027-02-18", "2027-05-18"]),
        (ANNUAL, ANNIVERSARY, ["2026-11-18", "2027-11-18", "2028-11-18"]),
        (WEEKLY, ANNIVERSARY, ["2026-11-18", "2026-11-25", "2026-12-02"]),
    ],
)
def test_where_periods_begin(
    frequency: BillingFrequency, cycle: BillingCycle, expected: list[str]
) -> None:
    assert starts(Schedule(frequency, cycle, utc(2026, 11, 18)), 3) == expected


def test_first_and_last_periods_are_partial() -> None:
    schedule = Schedule(QUARTERLY, CALENDAR, utc(2028, 2, 10), utc(2028, 5, 2))
    first, last = schedule.periods(utc(2020, 1), utc(2030, 1))
    assert (first.days_held, first.days_whole) == (51, 91)  # a leap year: 31 + 29 + 31
    assert (last.days_held, last.days_whole) == (31, 91)
    assert (first.number, last.number) == (0, 1)


def test_a_trial_is_a_period_of_its_own_and_the_terms_begin_after_it() -> None:
    schedule = Schedule(MONTHLY, ANNIVERSARY, utc(2026, 1, 10), trial_days=60)
    trial, first, _ = schedule.periods(utc(2026, 1), utc(2026, 5))
    assert trial.trial
    assert (trial.held.start, trial.held.end) == (utc(2026, 1, 10), utc(2026, 3, 11))
    assert (first.held.start, first.held.end) == (utc(2026, 3, 11), utc(2026, 4, 11))
    assert (trial.number, first.number) == (0, 0)


def test_a_trial_ends_with_its_plan() -> None:
    schedule = Schedule(MONTHLY, CALENDAR, utc(2026, 1, 10), utc(2026, 1, 15), trial_days=14)
    [only] = schedule.periods(utc(2026, 1), utc(2027, 1))
    assert (only.trial, only.days_held) == (True, 5)


@pytest.mark.parametrize("month", [3, 10])
def test_summer_time_moves_nothing(month: int) -> None:
    """On the days of the change a period still has whole days of 24 hours, whatever the zone of
    the instants that come in."""
    schedule = Schedule(WEEKLY, CALENDAR, utc(2026, month, 1))
    for period in schedule.periods(utc(2026, month, 1), utc(2026, month + 1, 1)):
        assert (period.whole.end - period.whole.start) == timedelta(days=7)
        instant = period.held.start.astimezone(Berlin())
        assert schedule.period_at(instant) == period
        assert schedule.period_at(instant - timedelta(microseconds=1)) != period


def test_instants_of_any_zone_are_the_same_instants() -> None:
    east = timezone(timedelta(hours=14))
    local = Schedule(MONTHLY, CALENDAR, utc(2026, 11, 18).astimezone(east))
    assert local.period(0) == Schedule(MONTHLY, CALENDAR, utc(2026, 11, 18)).period(0)
    assert local.period(0).held.start.tzinfo is UTC  # type: ignore[union-attr]  # it has one


def test_the_month_of_an_instant_is_that_of_utc() -> None:
    schedule = Schedule(MONTHLY, CALENDAR, utc(2026, 11, 1))
    east = datetime(2026, 12, 1, 10, tzinfo=timezone(timedelta(hours=14)))  # 30 November
    west = datetime(2026, 11, 30, 20, tzinfo=timezone(-timedelta(hours=12)))  # 1 December
    assert schedule.period_at(east) == schedule.period(0)
    assert schedule.period_at(west) == schedule.period(1)


def test_a_plan_begins_at_midnight() -> None:
    with pytest.raises(AssertionError, match="midnight"):
        Schedule(MONTHLY, CALENDAR, utc(2026, 11, 18, 1))


def test_before_the_first_there_is_no_period() -> None:
    schedule = Schedule(MONTHLY, CALENDAR, utc(2026, 11, 18), utc(2027, 1, 5))
    assert schedule.period(-1) is None
    assert schedule.period(3) is None


def monthly_period(month: datetime, begins: datetime, ends: datetime | None) -> Period | None:
    """The part of a calendar month in which a plan holds; None when none is."""
    start = max(month, begins)
    end = next_month(month) if ends is None else min(next_month(month), ends)
    return Period(start, end) if start < end else None


@settings(max_examples=200)
@given(days, st.none() | days, days)
def test_calendar_months_are_the_months_that_drafts_had(
    begins: datetime, ends: datetime | None, now: datetime
) -> None:
    """Periods of a monthly plan are those that drafts had before there were other frequencies."""
    if ends is not None and ends <= begins:
        return
    schedule = Schedule(MONTHLY, CALENDAR, begins, ends)
    months = draft_months(begins, ends, now)
    wanted = [monthly_period(month, begins, ends) for month in months]
    # draft_months shows the month of `now` even where the plan begins later in it.
    begun = [period for period in wanted if period and period.start <= now]
    since = max(begins, oldest_draft_month(now))
    periods = schedule.periods(since, now + timedelta(microseconds=1))
    assert [each.held for each in periods] == begun


@given(days, st.integers(0, 48), st.integers(0, 48))
def test_months_are_added_from_the_anchor(day: datetime, one: int, two: int) -> None:
    later = add_months(day, one + two)
    assert later.day in (day.day, (add_months(later.replace(day=1), 1) - DAY).day)
    if day.day <= 28:
        assert add_months(add_months(day, one), two) == later
