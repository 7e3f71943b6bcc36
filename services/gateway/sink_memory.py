"""usage.raw in memory, for tests; can be told to fail."""

from collections.abc import Sequence

from services.domain.partition import partition_of
from services.gateway.sink import Unavailable
from services.runtime.log import RAW
from services.runtime.log_memory import MemoryLog


class MemoryEventSink:
    """See `services.gateway.sink.EventSink`."""

    def __init__(self, log: MemoryLog, partition_count: int) -> None:
        self._log = log
        self._partition_count = partition_count
        self.available = True

    async def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """See EventSink."""
        if not self.available:
            raise Unavailable("switched off by the test")
        for transaction_id, content in events:
            partition = partition_of(transaction_id, self._partition_count)
            self._log.put(RAW, partition, transaction_id.encode(), content)
