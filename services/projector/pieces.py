"""How a period is put together from month totals and hours, so that a long one never adds up its
hours. Pure.
"""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from services.domain.meter import Aggregation
from services.domain.number import ZERO, add
from services.domain.period import Period, month_start, next_month

# Before every event.
EVER = datetime(1, 1, 1, tzinfo=UTC)


class Piece(NamedTuple):
    """A part of a period that one table answers for."""

    table: str
    period: Period


@lru_cache(maxsize=10_000)
def pieces_of(period: Period) -> tuple[Piece, ...]:
    """Whole calendar months together, and what lies before and after them."""
    first, last = month_start(period.start), month_start(period.end)
    if first < period.start:
        first = next_month(first)
    if first >= last:
        return (Piece("usage_hour", period),)
    pieces = [Piece("usage_month", Period(first, last))]
    if period.start < first:
        pieces.append(Piece("usage_hour", Period(period.start, first)))
    if last < period.end:
        pieces.append(Piece("usage_hour", Period(last, period.end)))
    return tuple(pieces)


def value_of(aggregation: str, count: int, total: str, peak: str | None) -> Decimal:
    """What a piece comes to; nothing for LATEST and UNIQUE, of which pieces do not add up."""
    match aggregation:
        case Aggregation.COUNT:
            return Decimal(count)
        case Aggregation.SUM:
            return Decimal(total)
        case Aggregation.MAX:
            return ZERO if peak is None else Decimal(peak)
        case _:
            return ZERO


def merge(aggregation: str, one: Decimal, other: Decimal) -> Decimal:
    """What two pieces come to together."""
    return max(one, other) if aggregation == Aggregation.MAX else add(one, other)
