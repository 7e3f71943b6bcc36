"""The wire form of a usage event: decoded and checked by the gateway, and again by dedup for
records that others wrote. Knows the limits of one event; never the rules of a request.

`decode_events` is the hot path (one C call for a request); the other functions name faults.
"""

from collections.abc import Sequence
from datetime import MAXYEAR, UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec

from services.domain.event import (
    CUSTOMER_ID_LENGTH_MAX,
    EVENT_TYPE_LENGTH_MAX,
    PROPERTIES_MAX,
    PROPERTY_DEPTH_MAX,
    TRANSACTION_ID_LENGTH_MAX,
)
from services.domain.number import in_bounds, parse_number
from services.runtime.event_time import cut, cut_all, may_be_finer


class WireEvent(msgspec.Struct, frozen=True, gc=False):
    """A usage event as JSON has it; satisfies `services.domain.event.UsageEvent`."""

    transaction_id: Annotated[str, msgspec.Meta(min_length=1, max_length=TRANSACTION_ID_LENGTH_MAX)]
    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=CUSTOMER_ID_LENGTH_MAX)]
    event_type: Annotated[str, msgspec.Meta(min_length=1, max_length=EVENT_TYPE_LENGTH_MAX)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    properties: Annotated[dict[str, Any], msgspec.Meta(max_length=PROPERTIES_MAX)] = {}


class TextEvent(WireEvent, frozen=True, gc=False):
    """One all of whose properties are text: nothing in it needs a second look."""

    properties: Annotated[dict[str, str], msgspec.Meta(max_length=PROPERTIES_MAX)] = {}


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one field of one event."""

    field: str
    reason: str


_EVENT = msgspec.json.Decoder(WireEvent, float_hook=Decimal)
_EVENTS = msgspec.json.Decoder(list[WireEvent], float_hook=Decimal)
_TEXT_EVENTS = msgspec.json.Decoder(list[TextEvent])
_ENCODER = msgspec.json.Encoder(decimal_format="number", order="deterministic")

# Everything that decoding foreign bytes can raise.
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ArithmeticError)

_ESCAPE = ord("\\")

# The name of a property in a message is cut after this.
SHOWN_LENGTH_MAX = 80

# Values of these types need no further check.
_PLAIN_TEXT = (str, bool, type(None))


def decode_events(body: bytes) -> Sequence[WireEvent]:
    """All events of a request body; raises one of DECODE_ERRORS at the first fault. TextEvents
    when all are such; the attempt ends at the first property that is not text, so it costs those
    who send numbers next to nothing."""
    events: Sequence[WireEvent]
    try:
        events = _TEXT_EVENTS.decode(body)
    except DECODE_ERRORS:
        events = _EVENTS.decode(body)
    return cut_all(events, body) if may_be_finer(body) else events


def decode_event(raw: bytes | msgspec.Raw) -> WireEvent:
    """One event, its time as msgspec rounds it; raises one of DECODE_ERRORS."""
    return _EVENT.decode(raw)


def encode_event(event: WireEvent) -> bytes:
    """Canonical bytes: the same content gives the same bytes, however it was spaced or in what
    order its keys came, so a retry is never taken for a conflict."""
    if event.timestamp.tzinfo is not UTC:
        event = msgspec.structs.replace(event, timestamp=event.timestamp.astimezone(UTC))
    return _ENCODER.encode(event)


def encode_events(events: Sequence[WireEvent]) -> list[bytes]:
    """As encode_event, of events all of whose timestamps are in UTC."""
    return list(map(_ENCODER.encode, events))


def property_fault(properties: dict[str, Any]) -> Fault | None:
    """The first property that no later stage could hold: too deep, a number beyond the limits."""
    for name, value in properties.items():
        if type(value) is str:
            continue
        reason = _value_fault(value, 1)
        if reason is not None:
            return Fault(f"properties.{_shown(name)}", reason)
    return None


def _shown(name: str) -> str:
    """A property's name in a message: it may be anything, and messages go into the database."""
    if len(name) > SHOWN_LENGTH_MAX:
        name = name[:SHOWN_LENGTH_MAX] + "..."
    return name if name.isprintable() else repr(name)


def _value_fault(value: object, depth: int) -> str | None:
    if isinstance(value, _PLAIN_TEXT):
        return None
    if isinstance(value, dict | list):
        if depth >= PROPERTY_DEPTH_MAX:
            return f"is nested deeper than {PROPERTY_DEPTH_MAX} levels"
        parts = value.values() if isinstance(value, dict) else value
        return next((reason for part in parts if (reason := _value_fault(part, depth + 1))), None)
    if isinstance(value, Decimal) and not in_bounds(value):
        return "is a number beyond 38 digits before or after the point"
    if isinstance(value, int) and parse_number(value) is None:
        return "is a number beyond 38 digits before the point"
    return None


def holds_nul(value: object) -> bool:
    """Whether any text in a decoded value has the character NUL, which no database text can."""
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or holds_nul(part) for key, part in value.items())
    if isinstance(value, list):
        return any(holds_nul(part) for part in value)
    return False


def check_event(raw: bytes) -> WireEvent | Fault:
    """Decode and check one event by itself: the slow path, and dedup's for every record.

    The time window is not checked, it belongs to the instant of the request; nor is the size,
    which is that of the canonical bytes.
    """
    try:
        event = _EVENT.decode(raw)
        if not raw.isascii():
            raw.decode()  # msgspec skips a field it does not know without looking at its text
        if may_be_finer(raw):
            event = cut(event, raw)
    except DECODE_ERRORS as error:
        return decoding_fault(error)
    return property_fault(event.properties) or text_fault(raw, event) or time_fault(event) or event


def checked_event(raw: bytes) -> WireEvent | Fault:
    """What `check_event` says, sooner for the usual event: in ASCII, without an escape, with a time
    in UTC that is not of the last year. The time is as msgspec rounds it."""
    try:
        event = _EVENT.decode(raw)
    except DECODE_ERRORS as error:
        return decoding_fault(error)
    time = event.timestamp
    # To look for a number among bytes is ten times as fast as to look for bytes.
    if _ESCAPE in raw or not raw.isascii() or time.tzinfo is not UTC or time.year == MAXYEAR:
        return check_event(raw)
    return property_fault(event.properties) or event


def decoding_fault(error: Exception) -> Fault:
    """Which field one of DECODE_ERRORS is about, and why."""
    match error:
        case msgspec.ValidationError():
            return validation_fault(error)
        case msgspec.DecodeError():
            return Fault("", f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}")
        case UnicodeDecodeError():
            return Fault("", f"is not UTF-8 text: {error.reason}")
        case RecursionError():
            return Fault("properties", f"is nested deeper than {PROPERTY_DEPTH_MAX} levels")
        case _:  # every other field is text, so the number is in the properties
            return Fault("properties", "holds a number whose exponent is out of range")


def time_fault(event: WireEvent) -> Fault | None:
    """A timestamp near the ends of the calendar whose UTC instant has no date, or whose month has
    no end: the end is exclusive, so the last year has none for December."""
    try:
        year = event.timestamp.astimezone(UTC).year
    except OverflowError:
        year = MAXYEAR
    if year == MAXYEAR:
        return Fault("timestamp", f"lies outside the years 0001 to {MAXYEAR - 1} in UTC")
    return None


def text_fault(raw: bytes, event: WireEvent) -> Fault | None:
    """NUL can only be written as an escape in JSON, so most events are spared the walk."""
    return nul_fault(event) if b"\\u0000" in raw else None


def nul_fault(event: WireEvent) -> Fault | None:
    """The first field that holds NUL."""
    for name in ("transaction_id", "customer_id", "event_type", "properties"):
        if holds_nul(getattr(event, name)):
            return Fault(name, "holds the character NUL (U+0000)")
    return None


def validation_fault(error: msgspec.ValidationError) -> Fault:
    """msgspec's message, split into field and reason."""
    message = str(error)
    missing = "Object missing required field `"
    if message.startswith(missing):
        return Fault(message[len(missing) :].split("`", 1)[0], "is missing")
    reason, _, path = message.partition(" - at `")
    # "$.properties" or "$[3].properties": the part after the event itself.
    field = path.rstrip("`").partition(".")[2]
    return Fault(field, _in_words(field, reason))


def _in_words(field: str, reason: str) -> str:
    if field == "timestamp":
        return (
            "must be an RFC 3339 time with a 4-digit year and a zone, e.g. 2026-11-24T12:00:00Z"
            f" ({reason})"
        )
    return reason[:1].lower() + reason[1:]
