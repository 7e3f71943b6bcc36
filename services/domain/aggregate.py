"""Aggregates: zero, add, merge. Associative and commutative, so neither the order of events nor
how they were batched can change an invoice. Exact, never a float.

One aggregate belongs to a posted customer id, a metric, the group values and an hour in UTC
(DESIGN section 6).
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import NamedTuple
from uuid import UUID

from services.domain.meter import Aggregation
from services.domain.number import EXACT, ZERO

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# A distinct value longer than this is kept as its digest: the count stays exact, the index small.
DISTINCT_BYTES_MAX = 256


class AggregateKey(NamedTuple):
    """What one aggregate is about."""

    reference: str  # customer as posted
    metric_id: UUID
    group: tuple[str | None, ...]  # in the order of the metric's grain
    hour: int  # hours since 1970-01-01T00:00Z


class Latest(NamedTuple):
    """A value with what decides which of two is later: event time, then place in the log.

    The place breaks ties so that the answer does not depend on the order of merging.
    """

    occurred_at: datetime
    partition: int
    offset: int
    value: Decimal


def hour_of(occurred_at: datetime) -> int:
    """Hours since the epoch, rounded down, of an aware datetime."""
    return (occurred_at - EPOCH) // HOUR


def hour_start(hour: int) -> datetime:
    """First instant of an hour number, UTC."""
    return EPOCH + hour * HOUR


def distinct_text(text: str) -> str:
    """What stands for a value in a set of distinct values."""
    encoded = text.encode()
    if len(encoded) <= DISTINCT_BYTES_MAX:
        return text
    return "blake2b:" + blake2b(encoded, digest_size=32).hexdigest()


@dataclass(slots=True)
class Aggregate:
    """A product of monoids, of which a metric uses the one for its aggregation; `Aggregate()` is
    zero. Merged in place."""

    count: int = 0
    total: Decimal = ZERO
    peak: Decimal | None = None
    latest: Latest | None = None
    distinct: set[str] = field(default_factory=set)

    def merge(self, other: "Aggregate") -> None:
        """Take in another aggregate of the same key."""
        self.count += other.count
        self.total = EXACT.add(self.total, other.total)
        if other.peak is not None:
            self.peak = other.peak if self.peak is None else max(self.peak, other.peak)
        if other.latest is not None:
            self.latest = other.latest if self.latest is None else max(self.latest, other.latest)
        self.distinct |= other.distinct

    def quantity(self, aggregation: Aggregation) -> Decimal | None:
        """The metric's value; None where MAX or LATEST saw nothing."""
        match aggregation:
            case Aggregation.COUNT:
                return Decimal(self.count)
            case Aggregation.SUM:
                return self.total
            case Aggregation.MAX:
                return self.peak
            case Aggregation.LATEST:
                return None if self.latest is None else self.latest.value
            case Aggregation.UNIQUE:
                return Decimal(len(self.distinct))
