"""The port to what is projected: positions and aggregates, moved together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from services.domain.aggregate import Aggregate, AggregateKey
from services.domain.tally import Tallies, aggregates_of
from services.runtime.records import RatedConflict, RatedRejection


@dataclass(frozen=True, slots=True)
class Position:
    """Where the projection of a partition stands."""

    next_raw: int
    next_rated: int


@dataclass(slots=True)
class Advance:
    """How far one flush moves a partition, and the fates of the offsets it passes."""

    expected: Position | None  # compared and set; None: the chain begins here
    first_raw: int
    next_raw: int
    next_rated: int
    ingested_to: datetime
    catalog_version: int
    counted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0
    unmatched: int = 0


@dataclass(slots=True)
class Flush:
    """Everything one transaction applies."""

    advances: dict[int, Advance] = field(default_factory=dict)
    aggregates: dict[AggregateKey, Aggregate] = field(default_factory=dict)
    rejections: list[tuple[int, int, RatedRejection]] = field(default_factory=list)
    """(partition, catalog version, rejection)"""
    conflicts: list[tuple[int, RatedConflict]] = field(default_factory=list)
    """(partition, conflict)"""
    tallies: Tallies = field(default_factory=dict)
    """What was merged so far; `settle` moves it into `aggregates`."""

    def settle(self) -> None:
        """Call once, when everything is merged."""
        assert not self.aggregates, "a flush is settled once"
        self.aggregates = aggregates_of(self.tallies)
        self.tallies = {}


class PositionMoved(Exception):
    """Another projector applied a range meanwhile: nothing of the flush was applied."""


class GenerationDropped(Exception):
    """The generation to be written was dropped: nothing can be counted into it any more."""


class Projection(Protocol):
    """Where the projector writes. Raises the adapter's connection errors."""

    async def positions(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        """The positions of those partitions that have one."""
        ...

    async def apply(self, flush: Flush) -> None:
        """Apply a flush in one transaction; raises PositionMoved when any position is not as
        expected, and then applies nothing; GenerationDropped where the generation is gone. A
        rejection or conflict that is there already fails the whole flush: positions and dead
        letters that disagree are our bug."""
        ...
