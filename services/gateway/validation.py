"""What a request of events may hold. Pure but for the decoder; never partly accepts a batch.

The fast path is one C call for the whole body. Only when that fails, or an event is out of bounds,
is the body taken apart element by element, so that every bad event is named.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from services.domain.event import (
    EVENT_BYTES_MAX,
    EVENTS_PER_REQUEST_MAX,
    acceptable_between,
)
from services.runtime.events import (
    DECODE_ERRORS,
    Fault,
    TextEvent,
    WireEvent,
    check_event,
    decode_events,
    encode_event,
    encode_events,
    property_fault,
)


@dataclass(frozen=True, slots=True)
class EventFault:
    """What is wrong with one event of the request."""

    index: int
    field: str
    reason: str


class BadRequest(Exception):
    """The whole request is refused; `faults` names every bad event that could be found."""

    def __init__(self, message: str, faults: list[EventFault] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.faults = faults or []


def accept(body: bytes, now: datetime) -> list[tuple[WireEvent, bytes]]:
    """Every event of a body with its canonical bytes; raises BadRequest for anything less."""
    try:
        events = decode_events(body)
    except DECODE_ERRORS:
        raise _explained(body, now) from None
    if not 1 <= len(events) <= EVENTS_PER_REQUEST_MAX:
        raise BadRequest(_count_fault(len(events)))
    if b"\\" in body and b"\\u0000" in body:  # most bodies have no escape at all
        raise_if_bad(body, now)
    oldest, newest = acceptable_between(now)
    all_in_utc = True
    for event in events:
        at = event.timestamp
        if not oldest <= at <= newest:
            raise _explained(body, now)
        if at.tzinfo is not UTC:
            all_in_utc = False
    if not isinstance(events[0], TextEvent):
        for event in events:
            if property_fault(event.properties) is not None:
                raise _explained(body, now)
    canonical = encode_events(events) if all_in_utc else list(map(encode_event, events))
    if max(map(len, canonical)) > EVENT_BYTES_MAX:
        raise _explained(body, now)
    return list(zip(events, canonical, strict=True))


def raise_if_bad(body: bytes, now: datetime) -> None:
    """Raises BadRequest when the slow path finds a fault."""
    refusal = _explained(body, now)
    if refusal.faults:
        raise refusal


def _explained(body: bytes, now: datetime) -> BadRequest:
    """Why the body is refused, every bad event named."""
    try:
        elements = list(islice(split_array(body), EVENTS_PER_REQUEST_MAX + 1))
    except ValueError as error:
        return BadRequest(f"the body must be a JSON array of events: {error}")
    if not 1 <= len(elements) <= EVENTS_PER_REQUEST_MAX:
        return BadRequest(_count_fault(len(elements)))
    faults = [
        EventFault(index, fault.field, fault.reason)
        for index, element in enumerate(elements)
        if (fault := _fault_of(element, now)) is not None
    ]
    if not faults:
        return BadRequest("the body cannot be read as a JSON array of events")
    named = "; ".join(f"event {f.index}: {f.field or 'the event'} {f.reason}" for f in faults[:3])
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return BadRequest(f"nothing was accepted, {len(faults)} bad: {named}{more}", faults)


def _count_fault(count: int) -> str:
    found = "more" if count > EVENTS_PER_REQUEST_MAX else count
    return f"a request holds 1 to {EVENTS_PER_REQUEST_MAX} events, this one has {found}"


def _fault_of(element: bytes, now: datetime) -> Fault | None:
    event = check_event(element)
    if isinstance(event, Fault):
        return event
    if len(encode_event(event)) > EVENT_BYTES_MAX:
        return Fault("", f"exceeds {EVENT_BYTES_MAX} bytes")
    oldest, newest = acceptable_between(now)
    if event.timestamp < oldest:
        return Fault("timestamp", "is more than 34 days old; correct it or leave the event out")
    if event.timestamp > newest:
        return Fault("timestamp", "is more than 24 hours ahead; is the producer's clock right?")
    return None


# Strings, and the characters that give JSON its shape. A string that is not closed reaches to the
# end: were it no token, every escaped quote in it would be tried as the start of one.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{},]', re.DOTALL)
_JSON_SPACE = b" \t\r\n"


def split_array(body: bytes) -> Iterator[bytes]:
    """The texts of a JSON array's elements, whether or not each is valid by itself.

    Raises ValueError when the body is not an array.
    """
    text = body.strip(_JSON_SPACE)
    if not text:
        raise ValueError("it is empty")
    if not text.startswith(b"["):
        raise ValueError("it does not begin with [")
    depth = 0
    start = 1
    for token in _TOKEN.finditer(text):
        mark = token.group()
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
            if depth == 0:
                if mark != b"]":
                    break
                yield from _last(text, start, token.start())
                return
        elif mark == b"," and depth == 1:
            yield text[start : token.start()]
            start = token.end()
    raise ValueError("it is cut off before its closing ]")


def _last(text: bytes, start: int, end: int) -> Iterator[bytes]:
    if end + 1 < len(text):
        raise ValueError("something follows the closing ]")
    last = text[start:end]
    if start > 1 or last.strip(_JSON_SPACE):
        yield last
