"""The requests that the generator sends: what they hold is what their sums say."""

import json
from typing import Any

import pytest

from tests.bench.bodies import Bodies, Shape
from tests.bench.replies import NotHttp, read_reply

AT = "2026-11-01T00:00:00+00:00"


def shape(**fields: Any) -> Shape:
    given = {"run": "run", "prefix": "c-", "event_type": "t", "first_at": AT, "last_at": AT}
    return Shape(**{**given, **fields})


def events(bodies: Bodies, requests: int) -> list[dict[str, Any]]:
    found = []
    for number in range(requests):
        head, _, body = bodies.request(number).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        found += json.loads(body)
    return found


@pytest.mark.parametrize("batch", [1, 10, 100])
@pytest.mark.parametrize("duplicates", [0, 1, 20])
def test_sums_are_those_of_the_distinct_events(batch: int, duplicates: int) -> None:
    bodies = Bodies(shape(batch=batch, duplicates=duplicates), host="h", token="t")
    requests = 45_000 // batch  # beyond two cycles
    posted = events(bodies, requests)
    contents: dict[str, Any] = {}
    for event in posted:
        assert contents.setdefault(event["transaction_id"], event) == event, "a conflict"
    assert bodies.unique(requests) == len(contents)
    amounts = [int(event["properties"]["bytes"]) for event in contents.values()]
    assert bodies.amount(requests) == sum(amounts)
    assert len(posted) - len(contents) == len(posted) * duplicates // 100


def test_group_does_not_follow_from_the_customer() -> None:
    posted = events(Bodies(shape(customers=8), host="h", token="t"), 100)
    pairs = {(event["customer_id"], event["properties"]["region"]) for event in posted}
    assert len(pairs) == 8 * 4


def test_every_customer_has_events_and_a_skewed_one_half_of_them() -> None:
    posted = events(Bodies(shape(customers=500, skew=0.5), host="h", token="t"), 200)
    own = sum(event["customer_id"] == "c-0" for event in posted)
    assert 0.45 < own / len(posted) < 0.55
    assert len({event["customer_id"] for event in posted}) == 500


def test_padding_makes_events_larger() -> None:
    small, large = (Bodies(shape(padding=n), host="h", token="t") for n in (0, 800))
    assert large.event_bytes - small.event_bytes == pytest.approx(800, abs=30)


REPLY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\nconnection: close\r\n\r\nbusy"


def test_a_reply_is_read_once_it_is_whole() -> None:
    for length in range(len(REPLY)):
        assert read_reply(REPLY[:length]) is None
    reply = read_reply(REPLY)
    assert reply is not None
    assert (reply.status, reply.body, reply.closes) == (503, b"busy", True)


@pytest.mark.parametrize(
    "received",
    [
        REPLY + b"H",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_what_is_no_single_reply_is_refused(received: bytes) -> None:
    with pytest.raises(NotHttp):
        read_reply(received)
