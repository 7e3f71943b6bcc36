"""The log in memory, for tests and simulation. Keeps the contract of `services.runtime.log`."""

from bisect import bisect_left
from collections import defaultdict

from services.runtime.log import (
    BATCH_BYTES_MAX,
    FRAME_BYTES,
    RATED,
    OffsetGone,
    Record,
    RecordTooLarge,
)

READ_MAX = 500


class MemoryLog:
    """Partitions as lists; time is set by the test."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.now_ms = 0
        self._starts: dict[tuple[str, int], int] = defaultdict(int)

    def put(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> int:
        """Append at once, as a producer of raw events would."""
        _, offset = self._bounds(topic, partition)
        record = Record(partition, offset, self.now_ms, key, value)
        self.partitions[topic, partition].append(record)
        return offset

    def truncate(self, topic: str, partition: int, before: int) -> None:
        """Delete the records below offset `before`, as Kafka's delete_records does."""
        start, end = self._bounds(topic, partition)
        assert start <= before <= end, f"{topic}[{partition}] has {start} to {end}, not {before}"
        records = self.partitions[topic, partition]
        del records[: bisect_left(records, before, key=lambda record: record.offset)]
        self._starts[topic, partition] = before

    def make_anew(self, topic: str, partition: int) -> None:
        """Delete the partition and create it again: its offsets begin at 0."""
        self.partitions[topic, partition].clear()
        self._starts[topic, partition] = 0

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """See Log."""
        # A topic that is not ours takes what a client of ours would send.
        if len(value) + FRAME_BYTES > BATCH_BYTES_MAX.get(topic, BATCH_BYTES_MAX[RATED]):
            raise RecordTooLarge(topic, partition, len(value))
        return self.put(topic, partition, None, value)

    async def last(self, topic: str, partition: int) -> Record | None:
        """See Log."""
        records = self.partitions[topic, partition]
        return records[-1] if records else None

    async def read(self, topic: str, partition: int, offset: int) -> list[Record]:
        """See Log."""
        start, _ = self._bounds(topic, partition)
        if offset < start:
            raise OffsetGone(topic, partition, offset, start)
        records = self.partitions[topic, partition]
        first = bisect_left(records, offset, key=lambda record: record.offset)
        return records[first : first + READ_MAX]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See Log."""
        return self._bounds(topic, partition)

    def _bounds(self, topic: str, partition: int) -> tuple[int, int]:
        start, records = self._starts[topic, partition], self.partitions[topic, partition]
        return start, records[-1].offset + 1 if records else start

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See Log."""
        _, end = self._bounds(topic, partition)
        records = self.partitions[topic, partition]
        return next((r.offset for r in records if r.timestamp_ms >= timestamp_ms), end)
