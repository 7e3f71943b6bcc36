"""Windows of a usage query: how a range of time is cut, by number, without listing them all."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from services.domain.period import Period


class WindowSize(StrEnum):
    """How long a window is; NONE: the whole range is one."""

    HOUR = "HOUR"
    DAY = "DAY"
    NONE = "NONE"


_LENGTHS = {WindowSize.HOUR: timedelta(hours=1), WindowSize.DAY: timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class Windows:
    """A range that starts and ends at midnights, cut into windows of one length."""

    range: Period
    length: timedelta

    @classmethod
    def of(cls, period: Period, size: WindowSize) -> "Windows":
        """The windows of a period."""
        return cls(period, _LENGTHS.get(size, period.end - period.start))

    @property
    def count(self) -> int:
        """How many there are."""
        return (self.range.end - self.range.start) // self.length

    def window(self, number: int) -> Period:
        """The window with a number, from 0."""
        assert 0 <= number < self.count, f"there is no window {number}"
        start = self.range.start + number * self.length
        return Period(start, start + self.length)

    def between(self, first: int, last: int) -> Period:
        """From the start of one window to the end of another, both inclusive."""
        return Period(self.window(first).start, self.window(last).end)
