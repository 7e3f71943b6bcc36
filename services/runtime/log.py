"""The port to the partitioned log. Decides nothing; an append is durable when it returns."""

from dataclasses import dataclass
from typing import Protocol

RAW = "usage.raw"
UNIQUE = "usage.unique"
RATED = "usage.rated"
TOPICS = (RAW, UNIQUE, RATED)


@dataclass(frozen=True, slots=True)
class Record:
    """One record as read."""

    partition: int
    offset: int
    timestamp_ms: int  # milliseconds since the epoch; log-append time on usage.raw
    key: bytes | None
    value: bytes | None


class AppendFailed(Exception):
    """It is unknown whether the record is in the log: stop and resume from the log's own end."""


class OffsetGone(Exception):
    """The records from an offset on are no longer in the log: it was truncated or made anew."""

    def __init__(self, topic: str, partition: int, offset: int, start: int) -> None:
        """`start`: the first offset that is still there."""
        super().__init__(
            f"{topic}[{partition}]: offset {offset} is gone, the log begins at {start}"
        )
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.start = start


class Log(Protocol):
    """Random access to the topics. Raises AppendFailed from append, OffsetGone from read,
    OSError-like errors of the adapter from reads; the caller's process then ends and resumes from
    its output."""

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """Durably append one record; returns its offset."""
        ...

    async def last(self, topic: str, partition: int) -> Record | None:
        """The last record of a partition, None when it is empty."""
        ...

    async def read(self, topic: str, partition: int, offset: int) -> list[Record]:
        """Some records from `offset` on, in order; empty at and beyond the end of the partition.
        Raises OffsetGone below its start: it never jumps to what is left."""
        ...

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """(start inclusive, end exclusive) offsets."""
        ...

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """The first offset whose timestamp is at or after `timestamp_ms`; the end when none is."""
        ...
