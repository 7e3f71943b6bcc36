"""The port to usage.raw."""

from collections.abc import Sequence
from typing import Protocol


class Unavailable(Exception):
    """The events were not acknowledged; some may be in the log. The client sends the same batch
    again, which is safe: each counts once."""


class EventSink(Protocol):
    """Where accepted events go."""

    async def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """Durably store (transaction_id, canonical bytes) pairs: returns when every one is
        acknowledged, raises Unavailable otherwise."""
        ...
