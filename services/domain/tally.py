"""Tallies: the aggregates of one metric, group and hour side by side, by who was posted. A tally is
the product of monoids that `Aggregate` is, a column for each: a range has few tallies with many
references, so most of the work is done by loops over columns. Exact, never a float.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

from services.domain.aggregate import Aggregate, AggregateKey, Latest
from services.domain.number import EXACT, ZERO, Number

TallyKey = tuple[UUID, tuple[str | None, ...], int]  # metric id, group, hour
NONE: frozenset[str] = frozenset()


@dataclass(slots=True)
class Tally:
    """By reference (the customer as posted). `counts` has all of them; each of the other columns
    those for which there is something. Mutable while it is folded."""

    counts: Counter[str] = field(default_factory=Counter)
    totals: dict[str, Number] = field(default_factory=dict)
    peaks: dict[str, Number] = field(default_factory=dict)
    latest: dict[str, Latest] = field(default_factory=dict)
    distinct: dict[str, set[str]] = field(default_factory=dict)

    def add_counts(self, references: Iterable[str], counts: Iterable[int]) -> None:
        """That many events more."""
        held = self.counts
        for reference, count in zip(references, counts, strict=True):
            held[reference] = held.get(reference, 0) + count

    def add_totals(self, references: Iterable[str], numbers: Iterable[Number]) -> None:
        """SUM: numbers to add."""
        held, add = self.totals, EXACT.add
        for reference, number in zip(references, numbers, strict=True):
            before = held.get(reference, 0)
            if type(number) is int and type(before) is int:
                held[reference] = before + number
            else:
                held[reference] = add(before, number)

    def add_peaks(self, references: Iterable[str], numbers: Iterable[Number]) -> None:
        """MAX: numbers of which the largest stays."""
        held = self.peaks
        for reference, number in zip(references, numbers, strict=True):
            before = held.get(reference)
            if before is None or number > before:
                held[reference] = number

    def add_latest(self, references: Iterable[str], values: Iterable[Latest]) -> None:
        """LATEST: values of which the latest stays."""
        held = self.latest
        for reference, value in zip(references, values, strict=True):
            before = held.get(reference)
            if before is None or value > before:
                held[reference] = value

    def add_distinct(self, references: Iterable[str], values: Iterable[Iterable[str]]) -> None:
        """UNIQUE: values to put into the sets."""
        held = self.distinct
        for reference, several in zip(references, values, strict=True):
            held.setdefault(reference, set()).update(several)


Tallies = dict[TallyKey, Tally]


def aggregates_of(tallies: Tallies) -> dict[AggregateKey, Aggregate]:
    """The same by whole key."""
    return {
        AggregateKey(reference, metric_id, group, hour): Aggregate(
            count,
            _decimal(tally.totals.get(reference, ZERO)),
            None if reference not in tally.peaks else _decimal(tally.peaks[reference]),
            tally.latest.get(reference),
            set(tally.distinct.get(reference, NONE)),
        )
        for (metric_id, group, hour), tally in tallies.items()
        for reference, count in tally.counts.items()
    }


def _decimal(number: Number) -> Decimal:
    return number if isinstance(number, Decimal) else Decimal(number)
