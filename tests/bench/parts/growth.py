"""Whether an event costs more later: CPU of the first million events against a million after ten
more, over many customers, with timestamps from the first day of a month to the last that is taken.

Both chunks are offered at the same rate, well below what is kept up with: cost depends on the rate,
because ranges and flushes do. Between them is posted as fast as it is taken.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from services.domain.event import AHEAD_MAX, BACKDATED_MAX
from services.domain.period import month_start, next_month
from tests.bench.load import Order
from tests.bench.parts.end_to_end import warm_up
from tests.bench.scale import Scale
from tests.bench.site import Drained, Site, site_on
from tests.bench.stack import Stack

_CONNECTIONS = 64
_BURST_CONNECTIONS = 16
# Of the rate that a burst drains.
_SHARE = 0.5
_MARGIN = timedelta(hours=2)  # the bench itself takes time
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a month in which events can be posted: [start, end)."""

    month: datetime
    start: datetime
    end: datetime

    def day(self, share: float) -> tuple[str, str]:
        """First and last timestamp of a day, as far into the span as `share` says."""
        begins = self.start + (self.end - self.start - _DAY) * share
        ends = begins + _DAY - timedelta(milliseconds=1)
        return begins.isoformat(), ends.isoformat()

    def between(self) -> tuple[str, str]:
        """First and last timestamp of all days but the first and the last."""
        ends = self.end - _DAY - timedelta(milliseconds=1)
        return (self.start + _DAY).isoformat(), ends.isoformat()


def span(now: datetime) -> Span:
    """This month or the last one, whichever can be posted more of at `now`."""
    this = month_start(now)
    spans = [
        Span(
            month,
            max(month, now - BACKDATED_MAX + _MARGIN),
            min(next_month(month), now + AHEAD_MAX - _MARGIN),
        )
        for month in (month_start(this - _DAY), this)
    ]
    return max(spans, key=lambda each: each.end - each.start)


async def measure(stack: Stack, scale: Scale) -> dict[str, Any]:
    """First chunk, what lies between, last chunk."""
    days = span(datetime.now(UTC))
    async with site_on(stack, 10) as small:
        await warm_up(small, scale.warm_up_s)
        burst = await warm_up(small, scale.warm_up_s)
    rate = burst.per_s * _SHARE
    async with site_on(stack, scale.growth_customers, starting_on=days.month) as site:
        first = await _steady(site, scale, rate, days.day(0.0))
        between = await _between(site, scale, days)
        last = await _steady(site, scale, rate, days.day(1.0))
    costs = [sum(run.cpu_us.values()) for run in (first, last)]
    return {
        "figures": {"cost_growth": costs[1] / costs[0]},
        "customers": scale.growth_customers,
        "offered_per_s": rate,
        "cpu_us_per_event": costs,
        "timestamps": [days.day(0.0), days.day(1.0)],
        "first": first.summary(),
        "between_cpu_us_per_event": [sum(run.cpu_us.values()) for run in between],
        "between_per_s": [run.per_s for run in between],
        "last": last.summary(),
    }


async def _steady(site: Site, scale: Scale, rate: float, day: tuple[str, str]) -> Drained:
    shape = site.shape(first_at=day[0], last_at=day[1])
    seconds = scale.growth_chunk / rate
    return await site.drained(Order(shape, _CONNECTIONS, per_s=rate / 100, seconds=seconds))


async def _between(site: Site, scale: Scale, days: Span) -> list[Drained]:
    runs = []
    chunks = -(-scale.growth_between // scale.growth_chunk)
    for number in range(chunks):
        first_at, last_at = days.day(number / chunks)
        shape = site.shape(first_at=first_at, last_at=last_at)
        count = scale.growth_chunk // 100
        runs.append(await site.drained(Order(shape, _BURST_CONNECTIONS, count=count)))
    return runs
