"""The oracle's reading of one record of usage.raw: what is JSON, what is an event, and what a
property says. Every rule is written again here; nothing is asked of the pipeline's own codec.
"""

import json
from datetime import MAXYEAR, UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

from services.domain.event import Event
from services.domain.reference.numbers import Number, plain_text, written

ID_MAX = 128
TYPE_MAX = 256
PROPERTIES_MAX = 2_000
DEPTH_MAX = 32
BYTES_MAX = 256 * 1024
SPACE = b" \t\r\n"


class NotAnEvent(NamedTuple):
    """The record is none. `is_json` False: not even an object of JSON."""

    is_json: bool


def content_of(value: bytes | None) -> bytes:
    """The bytes that count as the record's content: space around the JSON does not."""
    return (value or b"").strip(SPACE)


def read_event(content: bytes) -> Event | NotAnEvent:
    """The event in these bytes, or that there is none."""
    try:
        found = json.loads(
            content.decode("utf-8"),
            parse_float=_number,
            parse_int=_number,
            parse_constant=_no_constant,
        )
        # JSON may escape half of a surrogate pair, which is no character.
        json.dumps(found, default=str, ensure_ascii=False).encode()
    except (ValueError, RecursionError):  # what json and the codecs raise
        return NotAnEvent(is_json=False)
    if not isinstance(found, dict):
        return NotAnEvent(is_json=False)
    return _event_in(found) or NotAnEvent(is_json=True)


def _number(text: str) -> Number:
    number = written(text)
    assert number is not None, f"JSON let {text!r} pass as a number"
    return number


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _event_in(found: dict[str, Any]) -> Event | None:
    transaction_id = found.get("transaction_id")
    customer_id = found.get("customer_id")
    event_type = found.get("event_type")
    properties = found.get("properties", {})
    lengths = ((transaction_id, ID_MAX), (customer_id, ID_MAX), (event_type, TYPE_MAX))
    if any(not isinstance(text, str) or not 0 < len(text) <= most for text, most in lengths):
        return None
    if not isinstance(properties, dict) or len(properties) > PROPERTIES_MAX:
        return None
    if any(not _sound(part, 1) for part in properties.values()):
        return None
    if any(_has_nul(part) for part in (transaction_id, customer_id, event_type, properties)):
        return None
    instant = _instant(found.get("timestamp"))
    if instant is None:
        return None
    assert isinstance(transaction_id, str)
    assert isinstance(customer_id, str)
    assert isinstance(event_type, str)
    return Event(transaction_id, customer_id, event_type, instant, properties)


def _sound(value: object, depth: int) -> bool:
    """Numbers within the bounds, nesting within the depth."""
    if isinstance(value, Number):
        return value.in_bounds
    if isinstance(value, dict | list):
        parts = list(value.values()) if isinstance(value, dict) else value
        return depth < DEPTH_MAX and all(_sound(part, depth + 1) for part in parts)
    return True


def _has_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(name) or _has_nul(part) for name, part in value.items())
    if isinstance(value, list):
        return any(_has_nul(part) for part in value)
    return isinstance(value, str) and "\0" in value


def _instant(text: object) -> datetime | None:
    """RFC 3339 with a zone, in UTC, finer digits than microseconds cut; None when it is not one or
    lies in the last year there is, which has no end."""
    if not isinstance(text, str) or not text.isascii() or len(text) < 20:
        return None
    day, between, rest = text[:10], text[10], text[11:]
    clock, tail = rest[:8], rest[8:]
    if between not in "Tt " or day[4::3] != "--" or clock[2::3] != "::":
        return None
    parts = (day[:4], day[5:7], day[8:10], clock[:2], clock[3:5], clock[6:8])
    microseconds, zone = _fraction(tail)
    offset = _zone(zone)
    if microseconds is None or offset is None or not all(part.isdigit() for part in parts):
        return None
    year, month, date, hour, minute, second = (int(part) for part in parts)
    try:
        local = datetime(year, month, date, hour, minute, second, tzinfo=timezone(offset))
        instant = (local + timedelta(microseconds=microseconds)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return None if instant.year == MAXYEAR else instant


def _fraction(tail: str) -> tuple[int | None, str]:
    """Microseconds of ".5Z" and the rest "Z"."""
    if not tail.startswith("."):
        return 0, tail
    zone = tail[1:].lstrip("0123456789")
    digits = tail[1 : len(tail) - len(zone)]
    if not digits:
        return None, zone
    return floor(Fraction(int(digits), 10 ** len(digits)) * 10**6), zone


def _zone(text: str) -> timedelta | None:
    """Z, +HH:MM or +HHMM."""
    if text in ("Z", "z"):
        return timedelta(0)
    digits = text[1:3] + text[4:] if text[3:4] == ":" else text[1:]
    if text[:1] not in ("+", "-") or len(digits) != 4 or not digits.isdigit():
        return None
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return None
    return timedelta(hours=hours, minutes=minutes) * (-1 if text[0] == "-" else 1)


def text_of_property(value: object) -> str | None:
    """What filters, groups and distinct values compare; None when it is absent or null."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return plain_text(value.value)
    return json.dumps(_nested(value), sort_keys=True, separators=(",", ":"))


def _nested(value: object) -> object:
    """Inside an object or a list an integer is a number and any other number is the text of it,
    with the digits it was written with."""
    if isinstance(value, Number):
        if not value.whole:
            return str(
                Decimal((int(value.negative), tuple(map(int, value.digits)), value.exponent))
            )
        return int(value.value)
    if isinstance(value, dict):
        return {name: _nested(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_nested(part) for part in value]
    return value
