"""Billing periods and usage windows: half-open, UTC. Time is handed in, never asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end), both aware, UTC."""

    start: datetime  # inclusive
    end: datetime  # exclusive


def month_start(instant: datetime | date) -> datetime:
    """First instant of the calendar month of `instant`, UTC."""
    if isinstance(instant, datetime):
        instant = instant.astimezone(UTC)
    return datetime(instant.year, instant.month, 1, tzinfo=UTC)


def next_month(start: datetime) -> datetime:
    """First instant of the month after the one that starts at `start`."""
    if start.month == 12:
        return start.replace(year=start.year + 1, month=1)
    return start.replace(month=start.month + 1)


def months_between(begins: datetime, ends: datetime) -> Iterator[datetime]:
    """Starts of the calendar months that [begins, ends) touches."""
    month = month_start(begins)
    while month < ends:
        yield month
        month = next_month(month)


# Metronome shows no older invoices of a plan that is added late, and pricing stays bounded.
DRAFT_MONTHS_BACK_MAX = 13


def oldest_draft_month(now: datetime) -> datetime:
    """Start of the month DRAFT_MONTHS_BACK_MAX months before the one of `now`."""
    current = month_start(now)
    months = current.year * 12 + current.month - 1 - DRAFT_MONTHS_BACK_MAX
    return datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC)


def draft_months(begins: datetime, ends: datetime | None, now: datetime) -> list[datetime]:
    """Starts of the months of a plan [begins, ends) that have a draft at `now`: from its first
    month, no earlier than DRAFT_MONTHS_BACK_MAX months ago, to the current one, inclusive."""
    current = month_start(now)
    last = next_month(current) if ends is None else min(next_month(current), ends)
    return list(months_between(max(begins, oldest_draft_month(now)), last))
