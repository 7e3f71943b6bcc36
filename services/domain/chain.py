"""The chain of ranges: every record says which raw offsets it accounts for, every hop checks it.

DESIGN section 2. A repeat is skipped by arithmetic, an overlap is trimmed, a gap is never crossed.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Range:
    """A run of raw offsets of one partition, both ends inclusive, never empty."""

    first: int  # inclusive
    last: int  # inclusive

    def __post_init__(self) -> None:
        assert 0 <= self.first <= self.last, f"not a range of offsets: {self.first}..{self.last}"

    @property
    def size(self) -> int:
        """How many raw offsets it holds."""
        return self.last - self.first + 1


class Unit(Enum):
    """What a place in the chain is counted in; its value is the word for a person."""

    RAW_OFFSET = "raw offset"  # of usage.raw, whichever topic carries the range
    OFFSET = "offset"  # of the named topic itself


class ChainBroken(Exception):
    """A link is missing: going on would lose events without a trace, so the partition stops."""

    def __init__(
        self,
        topic: str,
        partition: int,
        expected: int,
        found: int,
        *,
        unit: Unit = Unit.RAW_OFFSET,
        made_anew: bool = False,
    ) -> None:
        """`expected`: where the chain has to go on; `found`: the first that is there beyond it,
        else the end of what is there. Both in `unit`. `made_anew`: something is there, but what
        stands before it is not what was read there."""
        if made_anew:
            fault = "but the record before it is not the one that was read: the topic was made anew"
        elif found > expected:
            fault = f"found {found}; the {found - expected} {unit.value}s between are missing"
        else:
            fault = f"but it ends before {found}: it was truncated or made anew"
        super().__init__(
            f"{topic}[{partition}]: expected to go on at {unit.value} {expected}, {fault}. This"
            " partition stops and the others go on. Nothing was counted past the gap: restore the"
            " missing records, or replay what is left."
        )
        self.topic = topic
        self.partition = partition
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Fresh:
    """The part of a range that was not accounted for yet."""

    range: Range


@dataclass(frozen=True, slots=True)
class Repeat:
    """Every offset of the range was accounted for already."""


@dataclass(frozen=True, slots=True)
class Gap:
    """The range starts beyond the next expected offset."""

    expected: int
    found: int


Link = Fresh | Repeat | Gap


def link(next_offset: int | None, arrived: Range) -> Link:
    """How a range continues a chain whose next expected raw offset is `next_offset`.

    None means that the chain has not begun: the first range of a topic begins it.
    """
    if next_offset is None:
        return Fresh(arrived)
    if arrived.first > next_offset:
        return Gap(next_offset, arrived.first)
    if arrived.last < next_offset:
        return Repeat()
    return Fresh(Range(next_offset, arrived.last))


def check_position(
    topic: str, partition: int, position: int, bounds: tuple[int, int], unit: Unit
) -> None:
    """Raise ChainBroken unless a source with `bounds` (start inclusive, end exclusive) can be read
    on from `position`: what a truncated topic lacks must not be stepped over."""
    start, end = bounds
    if position < start:
        raise ChainBroken(topic, partition, position, start, unit=unit)
    if position > end:
        raise ChainBroken(topic, partition, position, end, unit=unit)
