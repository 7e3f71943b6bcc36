"""Requests of usage events, made beforehand: sending one costs a single `bytes.replace`.

The templates are one cycle of requests; a request is a template with the number of its cycle put
into every transaction_id. So all ids are distinct but for the duplicates, which are slots that
carry the id and the content of an earlier slot of their cycle. Pure: a shape always makes the same
bytes.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

_CYCLE = b"@@@@@@"  # six digits: a million cycles
# A duplicate comes this many events after its first sighting when the cycle has room: in another
# request, mostly on another connection.
_DUPLICATE_DISTANCE = 2_000
_SLOTS_MIN = 20_000


@dataclass(frozen=True, slots=True)
class Shape:
    """What events look like. Customer, group and amount of an event are drawn independently."""

    run: str  # ends every transaction_id
    prefix: str  # begins every customer's alias; a number follows
    event_type: str
    first_at: str  # timestamps lie in [first_at, last_at], ISO 8601, UTC
    last_at: str
    customers: int = 1_000
    batch: int = 100
    duplicates: int = 1  # of 100 events
    groups: int = 4
    padding: int = 0  # bytes of one more property
    skew: float = 0.0  # the share of events that one customer has, beside its own
    seed: int = 1


@dataclass(frozen=True, slots=True)
class _Event:
    content: bytes  # with the cycle's place in it
    amount: int
    duplicate: bool


class Bodies:
    """The requests of a shape, by number, as HTTP/1.1 with its head."""

    def __init__(self, shape: Shape, *, host: str, token: str, path: str = "/v1/ingest") -> None:
        assert 0 <= shape.duplicates <= 50, "a duplicate of a duplicate would have to be counted"
        self.shape = shape
        wanted = max(_SLOTS_MIN, 2 * shape.customers)
        block = 100 * shape.batch  # whole requests, and whole hundreds of events
        slots = -(-wanted // block) * block
        events = _events(shape, slots)
        self._templates = []
        self._unique = [0]
        self._amount = [0]
        for first in range(0, slots, shape.batch):
            own = events[first : first + shape.batch]
            body = b"[" + b",".join(event.content for event in own) + b"]"
            self._templates.append(_head(host, token, path, len(body)) + body)
            counted = [event.amount for event in own if not event.duplicate]
            self._unique.append(self._unique[-1] + len(counted))
            self._amount.append(self._amount[-1] + sum(counted))
        self.event_bytes = sum(len(event.content) for event in events) / slots

    def request(self, number: int) -> bytes:
        """Request `number`, ready to be sent."""
        cycle, index = divmod(number, len(self._templates))
        return self._templates[index].replace(_CYCLE, b"%06d" % cycle)

    def unique(self, requests: int) -> int:
        """How many events of the first `requests` count."""
        return _sum_over(self._unique, requests)

    def amount(self, requests: int) -> int:
        """The sum of their property `bytes`."""
        return _sum_over(self._amount, requests)


def _sum_over(cumulated: list[int], requests: int) -> int:
    cycles, rest = divmod(requests, len(cumulated) - 1)
    return cycles * cumulated[-1] + cumulated[rest]


def _events(shape: Shape, slots: int) -> list[_Event]:
    chance = random.Random(shape.seed)
    order = list(range(shape.customers))
    chance.shuffle(order)
    first = datetime.fromisoformat(shape.first_at)
    span_s = (datetime.fromisoformat(shape.last_at) - first).total_seconds()
    padding = b',"padding":"%s"' % (b"x" * shape.padding) if shape.padding else b""
    events: list[_Event] = []
    drawn = 0
    for slot in range(slots):
        if slot % 100 >= 100 - shape.duplicates:
            events.append(_duplicate(events, slot, shape.duplicates))
            continue
        customer = 0 if chance.random() < shape.skew else order[drawn % shape.customers]
        drawn += 1
        at = first + timedelta(seconds=round(chance.random() * span_s, 3))
        amount = chance.randrange(1, 1_000)
        content = (
            b'{"transaction_id":"%s-%s-%s","customer_id":"%s%d","event_type":"%s",'
            b'"timestamp":"%s","properties":{"bytes":"%d","region":"region-%d"%s}}'
        ) % (
            *(_scattered(slot), _CYCLE, shape.run.encode(), shape.prefix.encode(), customer),
            *(shape.event_type.encode(), _stamp(at), amount),
            *(chance.randrange(shape.groups), padding),
        )
        events.append(_Event(content, amount, duplicate=False))
    return events


def _scattered(slot: int) -> bytes:
    """So that ids lie as scattered in an index as random ones do; no two slots have the same."""
    return b"%08x" % (slot * 2_654_435_761 % 2**32)


def _duplicate(events: list[_Event], slot: int, duplicates: int) -> _Event:
    near = slot - duplicates
    far = near - _DUPLICATE_DISTANCE
    original = events[far if far >= 0 else near]
    return _Event(original.content, original.amount, duplicate=True)


def _stamp(at: datetime) -> bytes:
    return at.strftime("%Y-%m-%dT%H:%M:%S.").encode() + b"%03dZ" % (at.microsecond // 1000)


def _head(host: str, token: str, path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
