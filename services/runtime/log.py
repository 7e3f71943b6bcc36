"""The port to the partitioned log. Decides nothing; an append is durable when it returns."""

from typing import Protocol

import msgspec

RAW = "usage.raw"
UNIQUE = "usage.unique"
RATED = "usage.rated"
TOPICS = (RAW, UNIQUE, RATED)

# Where a range of usage.raw ends depends on the log alone, never on the catalog, so a record of
# usage.rated is as large as its range and the catalog make it. A range has at most 1,000 events and
# 1 MB (dedup/judge.py). One metric that counts or refuses all of them adds at most what they say,
# once more (as references, groups, values: 1 MB), and below 500 bytes for each in ids, digits,
# reasons, names of properties of usual length, and punctuation (0.5 MB): 1.5 MB. What a refused
# event itself says is carried once: 1.4 MB in all, in base64. So 40 metrics on the same events
# always fit, whatever these are: 40 x 1.5 + 1.4 = 61.4 MB, below 64 MiB = 67.1 MB. Of small events
# far more do: 300 metrics that group 900 events apart by 60 bytes make 28 MB.
# What is larger all the same stops its partition, with an error that says what to do.
BATCH_BYTES_MAX = {RAW: 1024 * 1024, UNIQUE: 4 * 1024 * 1024, RATED: 64 * 1024 * 1024}
"""What Kafka takes at once, by topic: max.message.bytes in schemas/topics.toml."""

# Around the value, in a batch of its own, Kafka counts 61 bytes of header and at most 21 of record.
FRAME_BYTES = 96


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record as read."""

    partition: int
    offset: int
    timestamp_ms: int  # milliseconds since the epoch; log-append time on usage.raw
    key: bytes | None
    value: bytes | None


class AppendFailed(Exception):
    """It is unknown whether the record is in the log: stop and resume from the log's own end."""


class RecordTooLarge(Exception):
    """The record is larger than its topic takes; it is not in the log, and never will be."""

    def __init__(self, topic: str, partition: int, size: int) -> None:
        """`size`: of the value, in bytes."""
        super().__init__(
            f"{topic}[{partition}]: a record of {size} bytes is larger than the topic takes"
            " (max.message.bytes)"
        )
        self.topic = topic
        self.partition = partition
        self.size = size


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
    """Random access to the topics. Raises AppendFailed and RecordTooLarge from append, OffsetGone
    from read, OSError-like errors of the adapter from reads; the caller's process then ends and
    resumes from its output, unless it knows better."""

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """Durably append one record; returns its offset. Raises RecordTooLarge, and then nothing
        was written, when the value and its frame exceed what the topic takes."""
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
