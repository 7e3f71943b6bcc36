"""The oracle's calendar: day by day, and on each the question whether a billing period begins."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from services.domain.schedule import BillingCycle, BillingFrequency

DAY = timedelta(days=1)
MONTHS = {
    BillingFrequency.MONTHLY: 1,
    BillingFrequency.QUARTERLY: 3,
    BillingFrequency.ANNUAL: 12,
}


class Days(NamedTuple):
    """One billing period: the days it holds for, the days it would have, its number."""

    start: datetime  # inclusive
    end: datetime  # exclusive
    days_whole: int
    number: int
    trial: bool


def begins_on(day: date, frequency: BillingFrequency, cycle: BillingCycle, anchor: date) -> bool:
    """Whether a billing period begins on a day. `anchor`: the day of which there are anniversaries;
    for the calendar it plays no part."""
    if frequency is BillingFrequency.WEEKLY:
        if cycle is BillingCycle.CALENDAR:
            return day.isoweekday() == 1
        return (day - anchor).days % 7 == 0
    months = MONTHS[frequency]
    if cycle is BillingCycle.CALENDAR:
        return day.day == 1 and day.month in range(1, 13, months)
    passed = (day.year - anchor.year) * 12 + day.month - anchor.month
    last_of_month = (day + DAY).month != day.month
    same_day = day.day == anchor.day or (last_of_month and day.day < anchor.day)
    return passed % months == 0 and same_day


def periods_by_day(
    frequency: BillingFrequency,
    cycle: BillingCycle,
    span: tuple[datetime, datetime],
    trial_days: int = 0,
) -> Iterator[Days]:
    """Every period of a plan that holds for a span [begins, ends), the trial first."""
    begins, ends = span[0].astimezone(UTC).date(), span[1].astimezone(UTC).date()
    anchor = begins + trial_days * DAY
    if trial_days:
        end = min(anchor, ends)
        yield Days(_midnight(begins), _midnight(end), (end - begins).days, 0, True)
    starts = [day for day in _days(anchor, ends) if day == anchor or begins_on(
        day, frequency, cycle, anchor)]  # fmt: skip
    for number, start in enumerate(starts):
        end = starts[number + 1] if number + 1 < len(starts) else ends
        first, after = start, start + DAY
        while not begins_on(first, frequency, cycle, anchor):
            first -= DAY
        while not begins_on(after, frequency, cycle, anchor):
            after += DAY
        yield Days(_midnight(start), _midnight(end), (after - first).days, number, False)


def _days(start: date, end: date) -> Iterator[date]:
    while start < end:
        yield start
        start += DAY


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
