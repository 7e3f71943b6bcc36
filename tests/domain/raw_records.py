"""Draws what may stand on usage.raw: events with numbers written in every way, sent again, changed,
and records that are no events. Few ids, types and values, so that they collide.
"""

import json
from dataclasses import dataclass
from zlib import crc32

from hypothesis import strategies as st

NUMBERS = [
    "0", "-0", "1", "-1", "7", "1e3", "1E+3", "-0.0", "0.10", "1.50", "1e-38", "1e-39", "0e37",
    "0e38", "9" * 38, "9" * 39, "1" + "0" * 37, "123456789012345678901234567890.5", "1e999",
    "0.00000000000000000001",
]  # fmt: skip
TEXTS = [
    *NUMBERS, "", " 1", "1 ", "1_000", "NaN", "Infinity", "+5", "5.", ".5", ".", "+", "0x1",
    "1e", "1e+", "1e12345", "1e00001", "\u0661", "1" * 129, "eu", "us", "EU", "true", "é",
    "x" * 300, "g" * 1100,
]  # fmt: skip
VALUES = [
    *NUMBERS, *(json.dumps(text) for text in TEXTS), "null", "true", "false", "[]", "{}",
    '[1, 2.50, "a"]', '{"b": 1e3, "a": [null, true, -0]}', "[" * 31 + "]" * 31,
    "[" * 32 + "]" * 32, '"\\u0000"', '{"\\u0000": 1}', '"\\ud800"', "NaN",
    "1e999999999999999999999", "01", '"\\ud83d\\ude00"', "9" * 5000,
]  # fmt: skip
INSTANTS = [
    "2026-11-24T12:00:00Z", "2026-11-24T12:59:59.999999Z", "2026-11-24t12:30:00.1234565z",
    "2026-11-24 12:59:59.9999999+00:00", "2026-11-30T23:59:59.999999499Z",
    "2026-11-30T23:59:59.9999995Z", "2026-12-01T01:00:00+01:30", "2026-12-01T01:00:00+0130",
    "2026-11-24T12:00:00", "2026-11-24T12:00Z", "2026-11-24T24:00:00Z", "2026-02-30T00:00:00Z",
    "2026-11-24T12:00:60Z", "2026-11-24T12:00:00.Z", "2026-11-24T12:00:00+24:00", "",
    "2026-11-24T12:00:00+05", "0001-01-01T00:00:00+05:00", "0001-01-01T00:00:00Z",
    "9998-12-31T23:59:59Z", "9998-12-31T23:59:59.9999999Z", "9999-06-01T00:00:00Z",
    "9998-12-31T23:00:00-02:00", "1969-12-31T23:30:00Z", "2026-11-24T12:00:00\u0661Z",
]  # fmt: skip
JUNK = [
    None, b"", b" ", b"null", b"[]", b"{}", b'"text"', b"\xff", b"\xef\xbb\xbf{}", b"{", b"{}}",
    b'{"transaction_id": "1"}', b"x" * 300_000,
]  # fmt: skip


@dataclass(frozen=True)
class Posted:
    """One record as a producer sends it; `name` decides its partition unless it is misdirected."""

    name: str
    value: bytes | None
    own_key: bool = True
    misdirected: bool = False

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        return self.name.encode() if self.own_key else b"other"

    def partition(self, count: int) -> int:
        """Where it is sent."""
        return (crc32(self.name.encode()) + self.misdirected) % count


def written_event(
    name: str, instant: str, fields: dict[str, str], *, spaced: bool = False
) -> bytes:
    """An event with its properties' values as JSON text, written exactly so."""
    parts = ", ".join(f"{json.dumps(key)}: {value}" for key, value in fields.items())
    text = (
        f'{{"transaction_id": {json.dumps(name)}, "customer_id": "c{len(parts) % 2}",'
        f' "event_type": "{"compute" if "compute" in fields else "transfer"}",'
        f' "timestamp": {json.dumps(instant)}, "properties": {{{parts}}}}}'
    )
    return (f" {text}\n" if spaced else text).encode()


# Mostly sound, or nearly every draw would be refused for its timestamp.
instants = st.one_of(st.sampled_from(INSTANTS[:7]), st.sampled_from(INSTANTS))
names = st.sampled_from([str(number) for number in range(12)] + ["é", "x" * 128, "x" * 129])
properties = st.dictionaries(
    st.sampled_from(["bytes", "region", "zone", "compute"]),
    st.one_of(st.sampled_from(NUMBERS[:14]), st.sampled_from(VALUES)),
    max_size=3,
)
events = st.builds(written_event, names, instants, properties, spaced=st.booleans())


@st.composite
def posts(draw: st.DrawFn) -> Posted:
    """One record: an event, now and then junk, a wrong key or a wrong partition."""
    name = draw(names)
    kind = draw(st.integers(0, 19))
    if kind == 0:
        return Posted(name, draw(st.sampled_from(JUNK)))
    value = written_event(name, draw(instants), draw(properties), spaced=draw(st.booleans()))
    return Posted(name, value, own_key=kind != 1, misdirected=kind == 2)


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, Posted]]:
    """(hours since the record before, record): sent once, again, and after weeks."""
    sent: list[tuple[int, Posted]] = []
    for _ in range(draw(st.integers(0, 40))):
        again = bool(sent) and draw(st.booleans())
        record = draw(st.sampled_from([post for _, post in sent])) if again else draw(posts())
        sent.append((draw(st.sampled_from([0, 0, 0, 0, 1, 400, 815, 816, 817])), record))
    return sent
