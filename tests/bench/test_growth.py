"""Which days of a month the growth of cost is measured over."""

from datetime import UTC, datetime, timedelta

import pytest

from services.domain.event import acceptable_between
from tests.bench.parts.growth import span

NOWS = [datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=7 * n) for n in range(1_250)]


@pytest.mark.parametrize("now", NOWS[::50])
def test_the_days_are_of_one_month_and_can_be_posted(now: datetime) -> None:
    days = span(now)
    assert days.end - days.start > timedelta(days=14)
    first, last = days.day(0.0)[0], days.day(1.0)[1]
    assert first[:7] == last[:7] == days.month.isoformat()[:7]
    oldest, newest = acceptable_between(now)
    # Still so an hour later: the bench takes time.
    assert oldest + timedelta(hours=1) <= datetime.fromisoformat(first)
    assert datetime.fromisoformat(last) <= newest


def test_the_last_day_is_the_last_of_the_month_when_that_can_be_posted() -> None:
    assert span(datetime(2026, 11, 30, 12, tzinfo=UTC)).day(1.0)[1].startswith("2026-11-30T23:59")
    assert span(datetime(2026, 12, 3, tzinfo=UTC)).day(1.0)[1].startswith("2026-11-30T23:59")
