"""Good events, and every bad one there is: its JSON text, the field at fault, a word of the reason.

Texts and not objects: half of them cannot be written by a JSON encoder.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def fields(**changes: object) -> dict[str, Any]:
    """A good event's fields; None leaves one out."""
    event: dict[str, Any] = {
        "transaction_id": "t-1",
        "customer_id": "c",
        "event_type": "transfer",
        "timestamp": "2026-11-24T12:00:00Z",
        "properties": {"bytes": "5000"},
    }
    event.update(changes)
    return {name: value for name, value in event.items() if value is not None}


def text(**changes: object) -> bytes:
    """A good event's JSON, but for the changes."""
    return json.dumps(fields(**changes)).encode()


def with_property(value: str | bytes) -> bytes:
    """An event with one property n, its value as raw JSON."""
    raw = value if isinstance(value, bytes) else value.encode()
    return text(properties=None)[:-1] + b',"properties":{"n":' + raw + b"}}"


def nested(levels: int) -> bytes:
    """An event whose properties are so many levels deep, their own object included."""
    return with_property("[" * (levels - 1) + "]" * (levels - 1))


def array(*elements: bytes) -> bytes:
    """A request's body."""
    return b"[" + b",".join(elements) + b"]"


def at(instant: datetime) -> str:
    """RFC 3339."""
    return instant.isoformat()


TICK = timedelta(microseconds=1)
OLDEST, NEWEST = NOW - timedelta(days=34), NOW + timedelta(hours=24)
GOOD = text()
NAMES = ("transaction_id", "customer_id", "event_type", "timestamp")

# What it is: (the event, the field named, a part of the reason).
BAD: dict[str, tuple[bytes, str, str]] = {
    **{f"no {name}": (text(**{name: None}), name, "missing") for name in NAMES},
    "empty transaction_id": (text(transaction_id=""), "transaction_id", "length >= 1"),
    "long transaction_id": (text(transaction_id="x" * 129), "transaction_id", "length <= 128"),
    "numeric transaction_id": (text(transaction_id=5), "transaction_id", "expected `str`"),
    "empty customer_id": (text(customer_id=""), "customer_id", "length >= 1"),
    "long customer_id": (text(customer_id="x" * 129), "customer_id", "length <= 128"),
    "empty event_type": (text(event_type=""), "event_type", "length >= 1"),
    "long event_type": (text(event_type="x" * 257), "event_type", "length <= 256"),
    "naive timestamp": (text(timestamp="2026-11-24T12:00:00"), "timestamp", "RFC 3339"),
    "nonsense timestamp": (text(timestamp="yesterday"), "timestamp", "RFC 3339"),
    "numeric timestamp": (text(timestamp=1_795_521_600), "timestamp", "RFC 3339"),
    "numeric text timestamp": (text(timestamp="1795521600"), "timestamp", "RFC 3339"),
    "no such day": (text(timestamp="2026-02-29T12:00:00Z"), "timestamp", "RFC 3339"),
    "five-digit year": (text(timestamp="12026-11-24T12:00:00Z"), "timestamp", "RFC 3339"),
    "just too old": (text(timestamp=at(OLDEST - TICK)), "timestamp", "34 days"),
    "just too far ahead": (text(timestamp=at(NEWEST + TICK)), "timestamp", "24 hours"),
    "the year 1": (text(timestamp="0001-01-01T00:00:00+23:59"), "timestamp", "years"),
    "the last year": (text(timestamp="9999-12-31T23:59:59-23:59"), "timestamp", "years"),
    "properties an array": (text(properties=[1]), "properties", "expected `object`"),
    "properties a text": (text(properties="x"), "properties", "expected `object`"),
    "properties null": (text()[:-1] + b',"properties":null}', "properties", "expected `object`"),
    "2,001 properties": (
        text(properties={str(n): n for n in range(2_001)}),
        "properties",
        "length <= 2000",
    ),
    "33 levels": (nested(33), "properties.n", "32 levels"),
    "1,500 levels": (nested(1_500), "properties", "32 levels"),
    "100,000 levels": (nested(100_000), "properties", "32 levels"),
    "33 levels of objects": (
        with_property('{"a":' * 32 + "1" + "}" * 32),
        "properties.n",
        "32 levels",
    ),
    "NaN": (with_property("NaN"), "", "not JSON"),
    "Infinity": (with_property("-Infinity"), "", "not JSON"),
    "1e999": (with_property("1e999"), "properties.n", "38 digits"),
    "1e99999999999": (with_property("1e99999999999"), "properties.n", "38 digits"),
    "1e9999999999999999999": (with_property("1e9999999999999999999"), "properties", "exponent"),
    "0e999999999999999999": (with_property("0e999999999999999999"), "properties.n", "38 digits"),
    "60 digits": (with_property("9" * 60), "properties.n", "38 digits"),
    "60 places": (with_property("0." + "9" * 60), "properties.n", "38 digits"),
    "5,000 digits": (with_property("9" * 5_000), "properties", "range"),
    "a huge number deep down": (with_property('[{"a":[1,1e999]}]'), "properties.n", "38 digits"),
    "lone high surrogate": (with_property(r'"\ud800"'), "", "not JSON"),
    "lone low surrogate": (with_property(r'"\udc00x"'), "", "not JSON"),
    "lone surrogate in a name": (text()[:-1] + rb',"properties":{"\ud800":1}}', "", "not JSON"),
    "NUL in a value": (with_property(r'"a\u0000"'), "properties", "NUL"),
    "NUL in a name": (text()[:-1] + rb',"properties":{"\u0000":1}}', "properties", "NUL"),
    "NUL deep down": (with_property(r'[{"a":["\u0000"]}]'), "properties", "NUL"),
    "NUL in transaction_id": (text(transaction_id="a\0"), "transaction_id", "NUL"),
    "NUL in customer_id": (text(customer_id="a\0"), "customer_id", "NUL"),
    "NUL in event_type": (text(event_type="a\0"), "event_type", "NUL"),
    "bare NUL": (with_property(b'"a\0"'), "", "not JSON"),
    "bare control character": (with_property(b'"a\n"'), "", "not JSON"),
    "invalid UTF-8": (with_property(b'"\xff"'), "", "not UTF-8"),
    "a surrogate in UTF-8": (with_property(b'"\xed\xa0\x80"'), "", "not UTF-8"),
    "an overlong slash": (with_property(b'"\xc0\xaf"'), "", "not UTF-8"),
    "too large": (with_property('"' + "x" * 256 * 1024 + '"'), "", "262144 bytes"),
    "a number": (b"5", "", "expected `object`"),
    "null": (b"null", "", "expected `object`"),
    "a text": (b'"x"', "", "expected `object`"),
    "an array": (array(GOOD), "", "expected `object`"),
    "nothing": (b"", "", "not JSON"),
    "two in one": (GOOD + GOOD, "", "not JSON"),
    "no quotes": (b"{transaction_id: 5}", "", "not JSON"),
}

# Bodies that are no array of 1 to 100 events, and a part of what is said about them.
NO_ARRAY: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "blank": (b" \r\n\t", "empty"),
    "not JSON": (b"transaction_id=t-1", "begin with ["),
    "an object": (GOOD, "begin with ["),
    "null": (b"null", "begin with ["),
    "a text": (b'"[]"', "begin with ["),
    "a byte order mark": (b"\xef\xbb\xbf" + array(GOOD), "begin with ["),
    "UTF-16": (array(GOOD).decode().encode("utf-16-le"), "follows"),
    "an empty array": (b"[]", "1 to 100"),
    "a blank array": (b"[ \n ]", "1 to 100"),
    "101 events": (array(*[GOOD] * 101), "1 to 100"),
    "101 bad events": (array(*[b"{}"] * 101), "1 to 100"),
    "a million of nothing": (b"[" + b"," * 1_000_000 + b"]", "1 to 100"),
    "cut off in an event": (array(GOOD)[:-5], "cut off"),
    "cut off after an event": (array(GOOD)[:-1], "cut off"),
    "closed by the wrong bracket": (array(GOOD)[:-1] + b"}", "cut off"),
    "two arrays": (array(GOOD) + array(GOOD), "follows"),
    "something after it": (array(GOOD) + b"\x0c", "follows"),
}
