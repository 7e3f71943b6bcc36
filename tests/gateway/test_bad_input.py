"""Bad input through the real ingest app in memory: every bad event is named, nothing is stored."""

import asyncio
import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.app import IngestApp
from services.gateway.sink_memory import MemoryEventSink
from services.runtime.http import Message
from services.runtime.log import RAW
from services.runtime.log_memory import MemoryLog

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BODY_BYTES_MAX = 1024 * 1024
AUTHORIZED = (b"authorization", b"Bearer good")


class Gateway:
    """The ingest app over a log in memory."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.sink = MemoryEventSink(self.log, 4)
        self.app = IngestApp(
            self.sink,
            self._name_of,
            lambda: NOW,
            body_bytes_max=BODY_BYTES_MAX,
            bytes_in_flight_max=4 * BODY_BYTES_MAX,
        )

    async def _name_of(self, token: str) -> str | None:
        return "test" if token == "good" else None

    def post(
        self, body: bytes, *headers: tuple[bytes, bytes]
    ) -> tuple[int, Any, dict[bytes, bytes]]:
        """Status, parsed body, headers."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "headers": list(headers or (AUTHORIZED,))}
        asyncio.run(self.app(scope, receive, send))
        content = sent[1]["body"]
        return sent[0]["status"], json.loads(content) if content else None, dict(sent[0]["headers"])

    def stored(self) -> list[bytes | None]:
        """Values on usage.raw."""
        return [r.value for p in range(4) for r in self.log.partitions[RAW, p]]


def event(**fields: object) -> dict[str, object]:
    """A good event, some fields replaced; None leaves a field out."""
    good: dict[str, object] = {
        "transaction_id": "t",
        "customer_id": "c",
        "event_type": "e",
        "timestamp": NOW.isoformat(),
        "properties": {"bytes": "1"},
        **fields,
    }
    return {name: value for name, value in good.items() if value is not None}


BAD_EVENTS = [
    ("transaction_id", event(transaction_id=None)),
    ("customer_id", event(customer_id=None)),
    ("event_type", event(event_type=None)),
    ("timestamp", event(timestamp=None)),
    ("transaction_id", event(transaction_id="")),
    ("transaction_id", event(transaction_id="x" * 129)),
    ("transaction_id", event(transaction_id=7)),
    ("timestamp", event(timestamp="2026-11-24T12:00:00")),
    ("timestamp", event(timestamp="yesterday")),
    ("timestamp", event(timestamp=1_700_000_000)),
    ("timestamp", event(timestamp=(NOW + timedelta(hours=24, seconds=1)).isoformat())),
    ("timestamp", event(timestamp=(NOW - timedelta(days=34, seconds=1)).isoformat())),
    ("timestamp", event(timestamp="9999-12-31T23:59:59-12:00")),
    ("properties", event(properties=[1])),
    ("properties", event(properties={"a": "\0"})),
    ("transaction_id", event(transaction_id="a\0b")),
    ("properties.a", event(properties={"a": 10**39})),
]


@pytest.mark.parametrize(("field", "bad"), BAD_EVENTS)
def test_a_bad_event_is_named_and_its_neighbours_wait(field: str, bad: object) -> None:
    gateway = Gateway()
    batch = [event(), bad, event(transaction_id="u"), bad]
    status, body, _ = gateway.post(json.dumps(batch).encode())
    assert status == 400
    assert [(e["index"], e["field"]) for e in body["errors"]] == [(1, field), (3, field)]
    assert all(error["reason"] for error in body["errors"])
    assert gateway.stored() == []


def nested(depth: int) -> str:
    """A property value of that many arrays."""
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "value",
    [
        "NaN", "-Infinity", "1e999", "1e99999999999999999999", '"\\ud800"', nested(33),
        nested(100_000), '"\xff"',
    ],
    ids=lambda value: value[:12],
)  # fmt: skip
def test_a_property_that_no_stage_could_hold_is_named(value: str) -> None:
    gateway = Gateway()
    bad = json.dumps(event(properties={"a": "?"})).replace('"?"', value)
    body = f"[{json.dumps(event())},{bad}]".encode("latin-1")
    status, answer, _ = gateway.post(body)
    assert status == 400
    assert [error["index"] for error in answer["errors"]] == [1]
    assert gateway.stored() == []


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"nonsense", b"[", b"[{}", b"null", b"[1]x", b"\xff\xfe", b"[" * 100_000],
)
def test_a_body_that_is_no_array_of_events_is_refused(body: bytes) -> None:
    status, answer, _ = Gateway().post(body)
    assert status == 400
    assert answer["message"]


def test_a_hundred_events_are_taken_and_one_more_is_not() -> None:
    gateway = Gateway()
    events = [event(transaction_id=str(number)) for number in range(101)]
    assert gateway.post(json.dumps(events).encode())[0] == 400
    assert gateway.stored() == []
    assert gateway.post(json.dumps(events[:100]).encode())[0] == 200
    assert len(gateway.stored()) == 100


@pytest.mark.parametrize("at", [NOW - timedelta(days=34), NOW + timedelta(hours=24)])
def test_both_ends_of_the_window_are_inside(at: datetime) -> None:
    assert Gateway().post(json.dumps([event(timestamp=at.isoformat())]).encode())[0] == 200


def test_every_digit_is_stored() -> None:
    gateway = Gateway()
    number = "0.1000000000000000000000000001"
    body = json.dumps([event(properties={"n": "?"})]).replace('"?"', number)
    status, answer, _ = gateway.post(body.encode())
    assert (status, answer) == (200, None)
    assert number.encode() in (gateway.stored()[0] or b"")


def test_the_same_event_written_otherwise_is_stored_as_the_same_bytes() -> None:
    gateway = Gateway()
    one = event(properties={"a": "1", "b": {"c": 2, "d": 3}})
    same = event(properties={"b": {"d": 3, "c": 2}, "a": "1"})
    assert gateway.post(json.dumps([one]).encode())[0] == 200
    body = json.dumps([dict(reversed(same.items()))], indent=3)
    assert gateway.post(body.encode())[0] == 200
    first, second = gateway.stored()
    assert first == second


def test_limits_of_the_body() -> None:
    gateway = Gateway()
    assert gateway.post(b"x" * (BODY_BYTES_MAX + 1))[0] == 413
    declared = (b"content-length", str(BODY_BYTES_MAX + 1).encode())
    assert gateway.post(b"[]", AUTHORIZED, declared)[0] == 413
    zipped = (b"content-encoding", b"gzip")
    good = gzip.compress(json.dumps([event()]).encode())
    assert gateway.post(good, AUTHORIZED, zipped)[0] == 200
    assert gateway.post(good[:-9], AUTHORIZED, zipped)[0] == 400
    assert gateway.post(b"plain", AUTHORIZED, zipped)[0] == 400
    assert gateway.post(gzip.compress(b" " * 2 * BODY_BYTES_MAX), AUTHORIZED, zipped)[0] == 413
    big = event(properties={"a": "x" * 300_000})
    assert gateway.post(json.dumps([big]).encode())[0] == 400


def test_tokens() -> None:
    gateway = Gateway()
    body = json.dumps([event()]).encode()
    for header in ((b"x", b"y"), (b"authorization", b"Bearer bad"), (b"authorization", b"good")):
        status, _, headers = gateway.post(body, header)
        assert status == 401
        assert headers[b"www-authenticate"] == b"Bearer"
    assert gateway.stored() == []


def test_an_absent_kafka_is_503_with_retry_after_and_nothing_stays_reserved() -> None:
    gateway = Gateway()
    gateway.sink.available = False
    body = json.dumps([event()]).encode()
    for _ in range(20):
        status, _, headers = gateway.post(body)
        assert status == 503
        assert headers[b"retry-after"]
    gateway.sink.available = True
    assert gateway.post(body)[0] == 200


def test_beyond_the_bytes_in_flight_requests_are_refused_at_once() -> None:
    gateway = Gateway()
    gateway.app._bytes_in_flight = 4 * BODY_BYTES_MAX  # as if slow requests held all of it
    status, _, headers = gateway.post(json.dumps([event()]).encode())
    assert status == 503
    assert headers[b"retry-after"]
