"""Drives the ingest app as a server would, without one: raw ASGI messages in and out."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.gateway.app import PATH, IngestApp
from services.gateway.sink import EventSink
from services.gateway.sink_memory import MemoryEventSink
from services.runtime.http import Message, Scope
from services.runtime.log import RAW
from services.runtime.log_memory import MemoryLog
from tests.gateway.bodies import NOW

TOKEN = "tg_good"
PARTITIONS = 4
BODY_BYTES_MAX = 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


async def name_of(token: str) -> str | None:
    """The only token there is."""
    return "test" if token == TOKEN else None


@dataclass
class Gateway:
    """The app over a log in memory."""

    body_bytes_max: int = BODY_BYTES_MAX
    bytes_in_flight_max: int = 8 * BODY_BYTES_MAX
    sink: EventSink | None = None
    now: Callable[[], datetime] = lambda: NOW
    log: MemoryLog = field(default_factory=MemoryLog)

    def __post_init__(self) -> None:
        self.memory = MemoryEventSink(self.log, PARTITIONS)
        self.app = IngestApp(
            self.sink or self.memory,
            name_of,
            self.now,
            body_bytes_max=self.body_bytes_max,
            bytes_in_flight_max=self.bytes_in_flight_max,
        )

    @property
    def put(self) -> dict[str, bytes]:
        """Everything that is in usage.raw: id -> content."""
        return {
            (record.key or b"").decode(): record.value or b""
            for (topic, _), records in self.log.partitions.items()
            for record in records
            if topic == RAW
        }

    async def post(
        self,
        *chunks: bytes,
        method: str = "POST",
        token: str | None = f"Bearer {TOKEN}",
        headers: Sequence[tuple[str, str]] = (),
        declared: bool = True,
        disconnects: bool = False,
    ) -> Answer | None:
        """One request, its body in these chunks; None when nothing was answered."""
        wire = [(name.encode(), value.encode()) for name, value in headers]
        if token is not None:
            wire.append((b"authorization", token.encode()))
        if declared:
            wire.append((b"content-length", str(sum(map(len, chunks))).encode()))
        scope: Scope = {"type": "http", "method": method, "path": PATH, "headers": wire}
        incoming = _messages(chunks, disconnects)
        sent: list[Message] = []

        async def receive() -> Message:
            return incoming.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return _answer(sent)


def _messages(chunks: Sequence[bytes], disconnects: bool) -> list[Message]:
    messages: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks or [b""]
    ]
    if disconnects:
        return [*messages, {"type": "http.disconnect"}]
    messages[-1]["more_body"] = False
    return messages


def _answer(sent: Sequence[Message]) -> Answer | None:
    if not sent:
        return None
    start, body = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    assert headers["content-length"] == str(len(body["body"]))
    return Answer(start["status"], headers, body["body"])
