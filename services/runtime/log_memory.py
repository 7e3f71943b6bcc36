"""The log in memory, for tests and simulation. Keeps the contract of `services.runtime.log`."""

from collections import defaultdict

from services.runtime.log import Record

READ_MAX = 500


class MemoryLog:
    """Partitions as lists; time is set by the test."""

    def __init__(self) -> None:
        self.partitions: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.now_ms = 0

    def put(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> int:
        """Append at once, as a producer of raw events would."""
        records = self.partitions[topic, partition]
        records.append(Record(partition, len(records), self.now_ms, key, value))
        return len(records) - 1

    async def append(self, topic: str, partition: int, value: bytes) -> int:
        """See Log."""
        return self.put(topic, partition, None, value)

    async def last(self, topic: str, partition: int) -> Record | None:
        """See Log."""
        records = self.partitions[topic, partition]
        return records[-1] if records else None

    async def read(self, topic: str, partition: int, offset: int) -> list[Record]:
        """See Log."""
        return self.partitions[topic, partition][offset : offset + READ_MAX]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """See Log."""
        return 0, len(self.partitions[topic, partition])

    async def offset_at(self, topic: str, partition: int, timestamp_ms: int) -> int:
        """See Log."""
        records = self.partitions[topic, partition]
        return next((r.offset for r in records if r.timestamp_ms >= timestamp_ms), len(records))
