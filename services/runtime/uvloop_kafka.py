"""Makes aiokafka safe under uvloop. Never touches a connection that is whole.

A write to a connection that has just been lost is silent in asyncio; uvloop raises RuntimeError,
which aiokafka takes for no trouble of a connection (its issue 1038). In the task that keeps its
client's metadata the error goes unseen: the task is over, and whoever waits for metadata, the
search for the group's coordinator above all, waits without end.
"""

from typing import Any

import aiokafka.conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka ships no types
    """Broken is broken, whichever loop says so."""

    def send(self, request: Any, expect_response: bool = True) -> Any:
        """As aiokafka's; raises KafkaConnectionError on a connection that is lost."""
        try:
            return super().send(request, expect_response)
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
            raise KafkaConnectionError(
                f"Connection at {self.host}:{self.port} broken: {error}"
            ) from error


def mend() -> None:
    """Every connection that aiokafka makes from now on in this process."""
    aiokafka.conn.AIOKafkaConnection = _Connection
