"""Billing periods of a customer's plan: by month, quarter, year or week; aligned to the calendar or
to the day the plan starts. Half-open, UTC, so that no summer time can move them. Time is handed in.

A trial is a period of its own before the others and has its own invoice, however long it is; the
regular periods are numbered from 0 after it (Metronome, "Configure trials": a trial precedes the
normal terms of a plan and results in one invoice). Frequencies: METRONOME 4.4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from services.domain.period import Period, month_start

DAY = timedelta(days=1)
WEEK = timedelta(weeks=1)
# Plans begin and end between these. What is worked out from such a day is a date too: the end of
# its period, of a trial, of ten years of tiers, of credits that hold for 5,200 years.
FIRST_DAY = datetime(1970, 1, 1, tzinfo=UTC)
LAST_DAY = datetime(2999, 12, 31, tzinfo=UTC)


class BillingFrequency(StrEnum):
    """How often a plan is invoiced."""

    MONTHLY = "MONTHLY"
    QUARTERLY = "QUARTERLY"
    ANNUAL = "ANNUAL"
    WEEKLY = "WEEKLY"


class BillingCycle(StrEnum):
    """What the periods are aligned to."""

    CALENDAR = "CALENDAR"  # the 1st of the month, quarter or year; Monday
    ANNIVERSARY = "ANNIVERSARY"  # the day on which the regular terms start


# Months a period; weeks are counted in days.
_MONTHS = {
    BillingFrequency.MONTHLY: 1,
    BillingFrequency.QUARTERLY: 3,
    BillingFrequency.ANNUAL: 12,
}


@dataclass(frozen=True, slots=True)
class BilledPeriod:
    """What one invoice is about."""

    held: Period  # the part of the whole period in which the plan holds
    whole: Period
    number: int  # regular periods of the plan before it; the trial's is 0 too: the first prices
    trial: bool = False

    @property
    def days_held(self) -> int:
        """Days for which a fixed charge is due."""
        return (self.held.end - self.held.start).days

    @property
    def days_whole(self) -> int:
        """Days for which its price is meant."""
        return (self.whole.end - self.whole.start).days


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a customer's plan holds and how it is cut into billing periods."""

    frequency: BillingFrequency
    cycle: BillingCycle
    begins: datetime  # inclusive, midnight UTC
    ends: datetime | None = None  # exclusive, midnight UTC
    trial_days: int = 0

    def __post_init__(self) -> None:
        for instant in (self.begins, self.ends):
            midnight = instant is None or instant == _midnight(instant)
            assert midnight, f"a plan begins and ends at midnight UTC, not at {instant}"

    @property
    def terms_begin(self) -> datetime:
        """When the trial, if any, is over. Anniversaries are of this day."""
        return self.begins.astimezone(UTC) + self.trial_days * DAY

    def period(self, number: int) -> BilledPeriod | None:
        """The regular period of this number; None when the plan ends before it."""
        whole = self.whole(number)
        held = self._held(whole)
        return None if held is None or number < 0 else BilledPeriod(held, whole, number)

    def whole(self, number: int) -> Period:
        """The period of this number as if the plan had begun and ended elsewhere."""
        return Period(self._boundary(number), self._boundary(number + 1))

    def trial(self) -> BilledPeriod | None:
        """The trial's period; None without a trial."""
        end = self.terms_begin if self.ends is None else min(self.terms_begin, self.ends)
        if end <= self.begins:
            return None
        held = Period(self.begins.astimezone(UTC), end.astimezone(UTC))
        return BilledPeriod(held, held, 0, trial=True)

    def period_at(self, instant: datetime) -> BilledPeriod | None:
        """The period that an instant belongs to; None where the plan does not hold."""
        if instant < self.begins or (self.ends is not None and instant >= self.ends):
            return None
        if instant < self.terms_begin:
            return self.trial()
        return self.period(self._number(instant.astimezone(UTC)))

    def periods(self, since: datetime, until: datetime) -> Iterator[BilledPeriod]:
        """Every period that [since, until) touches, the earliest first."""
        trial = self.trial()
        if trial is not None and trial.held.end > since and trial.held.start < until:
            yield trial
        number = self._number(max(since.astimezone(UTC), self.terms_begin))
        while (period := self.period(number)) is not None and period.held.start < until:
            yield period
            number += 1

    def _held(self, whole: Period) -> Period | None:
        start = max(whole.start, self.terms_begin)
        end = whole.end if self.ends is None else min(whole.end, self.ends.astimezone(UTC))
        return Period(start, end) if start < end else None

    def _boundary(self, number: int) -> datetime:
        """Where a whole period starts. Counted from the first, so that the 31st comes back after
        a shorter month."""
        anchor = self._anchor()
        months = _MONTHS.get(self.frequency)
        return anchor + number * WEEK if months is None else add_months(anchor, number * months)

    def _anchor(self) -> datetime:
        """Where the whole period starts that the regular terms start in."""
        first = self.terms_begin
        if self.cycle is BillingCycle.ANNIVERSARY:
            return first
        months = _MONTHS.get(self.frequency)
        if months is None:
            return first - first.weekday() * DAY
        return month_start(first).replace(month=(first.month - 1) // months * months + 1)

    def _number(self, instant: datetime) -> int:
        """The number of the whole period that an instant is in."""
        anchor = self._anchor()
        months = _MONTHS.get(self.frequency)
        if months is None:
            return (instant - anchor) // WEEK
        passed = (instant.year - anchor.year) * 12 + instant.month - anchor.month
        number = passed // months
        return number if self._boundary(number) <= instant else number - 1


def add_months(instant: datetime, months: int) -> datetime:
    """The same day so many months later, or the last day of a month that has no such day."""
    year, month = divmod(instant.year * 12 + instant.month - 1 + months, 12)
    last = (_first(year, month + 1) - DAY).day
    return instant.replace(year=year, month=month + 1, day=min(instant.day, last))


def _first(year: int, month: int) -> datetime:
    """First day of the month after this one."""
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def _midnight(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
