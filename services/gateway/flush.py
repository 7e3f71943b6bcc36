"""Open batches that go to Kafka together, and the requests that wait for them. Never sends."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Protocol

from services.domain.partition import partition_of_key


class Batch(Protocol):
    """As much of aiokafka's BatchBuilder as is used here."""

    def append(self, *, key: bytes, value: bytes, timestamp: int | None) -> object | None:
        """None when it is full."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Flush:
    """At most one batch a partition."""

    __slots__ = ("_new_batch", "_partition_count", "_waiting", "batches", "due", "end_s", "events")

    def __init__(self, new_batch: Callable[[], Batch], partition_count: int, end_s: float) -> None:
        """`end_s`: when those who wait are told that it failed, in the loop's time."""
        self.batches: dict[int, Batch] = {}
        self.events = 0
        self.due = False
        self.end_s = end_s
        self._new_batch = new_batch
        self._partition_count = partition_count
        self._waiting: list[asyncio.Future[Exception | None]] = []

    def take(self, events: Iterator[tuple[str, bytes]]) -> tuple[str, bytes] | None:
        """Add (transaction_id, content) pairs; returns the first that finds its batch full."""
        batches, partition_count = self.batches, self._partition_count
        for event in events:
            transaction_id, content = event
            key = transaction_id.encode()
            partition = partition_of_key(key, partition_count)
            batch = batches.get(partition)
            if batch is None:
                batch = batches[partition] = self._new_batch()
            if batch.append(key=key, value=content, timestamp=None) is None:
                return event
        return None

    def ended(self) -> asyncio.Future[Exception | None]:
        """A future of one's own: None once all is acknowledged, or why it is not. (One future for
        all would be cancelled for all with the first request that is.)"""
        waiting: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        return waiting

    def end(self, failure: Exception | None) -> None:
        """Tell everyone who waits."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(failure)
