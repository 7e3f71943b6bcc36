"""The chain of ranges: every record says which raw offsets it accounts for, every hop checks it.

DESIGN section 2. A repeat is skipped by arithmetic, an overlap is trimmed, a gap is never crossed.
"""

from dataclasses import dataclass


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


class ChainBroken(Exception):
    """A link is missing: going on would lose events without a trace, so the partition stops."""

    def __init__(self, topic: str, partition: int, expected: int, found: int) -> None:
        if found > expected:
            fault = f"found {found}; the {found - expected} raw offsets between are missing"
        else:
            fault = f"but it ends before {found}: it was truncated or made anew"
        super().__init__(
            f"{topic}[{partition}]: expected to go on at raw offset {expected}, {fault}. This"
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
