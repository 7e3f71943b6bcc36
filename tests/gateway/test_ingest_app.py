"""POST /v1/ingest from the outside: 200 means stored, anything else means that nothing counts."""

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from services.gateway.app import IngestApp
from services.runtime.tokens import TokensUnavailable
from tests.gateway.asgi import BODY_BYTES_MAX, TOKEN, Answer, Gateway
from tests.gateway.bodies import BAD, GOOD, NO_ARRAY, NOW, OLDEST, array, at, text, with_property

GZIP = [("content-encoding", "gzip")]


def answered(gateway: Gateway, *chunks: bytes, **request: Any) -> Answer:
    answer = asyncio.run(gateway.post(*chunks, **request))
    assert answer is not None
    return answer


def refused(status: int, *chunks: bytes, gateway: Gateway | None = None, **request: Any) -> Answer:
    """The answer, which has a message and for which nothing was put."""
    gateway = gateway or Gateway()
    answer = answered(gateway, *chunks, **request)
    assert answer.status == status, answer
    assert answer.json["message"]
    assert answer.headers["content-type"] == "application/json"
    assert gateway.put == {}
    return answer


def test_a_good_request_is_200_with_an_empty_body_and_stored_under_its_id() -> None:
    gateway = Gateway()
    answer = answered(gateway, array(text(transaction_id="a"), text(transaction_id="b")))
    assert (answer.status, answer.body) == (200, b"")
    assert "content-type" not in answer.headers
    assert set(gateway.put) == {"a", "b"}
    assert json.loads(gateway.put["a"])["properties"] == {"bytes": "5000"}


def test_digits_are_stored_exactly_as_posted() -> None:
    gateway = Gateway()
    answered(gateway, array(with_property("0.1000000000000000000000000001")))
    assert b'"n":0.1000000000000000000000000001}' in gateway.put["t-1"]


def test_the_same_event_written_otherwise_is_stored_as_the_same_bytes() -> None:
    first, second = Gateway(), Gateway()
    answered(first, array(GOOD))
    answered(second, json.dumps(json.loads(array(GOOD)), indent=2, sort_keys=True).encode())
    assert first.put == second.put


@pytest.mark.parametrize("name", BAD)
def test_a_bad_event_is_400_and_nothing_is_put(name: str) -> None:
    element, field, reason = BAD[name]
    [error] = refused(400, array(GOOD, element, GOOD)).json["errors"]
    assert set(error) == {"index", "field", "reason"}
    assert error["index"] == 1
    assert error["field"].startswith(field)
    assert reason in error["reason"]


def test_all_bad_events_are_in_one_answer() -> None:
    bad = [element for element, _, _ in list(BAD.values())[:49]]
    errors = refused(400, array(*[each for one in bad for each in (GOOD, one)])).json["errors"]
    assert [error["index"] for error in errors] == list(range(1, 98, 2))


@pytest.mark.parametrize("name", NO_ARRAY)
def test_what_is_no_array_of_events_is_400(name: str) -> None:
    body, reason = NO_ARRAY[name]
    answer = refused(400, body)
    assert reason in answer.json["message"]
    assert "errors" not in answer.json


def test_the_window_moves_with_the_clock() -> None:
    oldest = array(text(timestamp=at(OLDEST)))
    assert answered(Gateway(), oldest).status == 200
    refused(400, oldest, gateway=Gateway(now=lambda: NOW + timedelta(microseconds=1)))


@pytest.mark.parametrize(
    "token", [None, "", "Bearer", "Bearer ", "Bearer tg_other", TOKEN, f"Basic {TOKEN}"]
)
def test_a_missing_or_unknown_token_is_401(token: str | None) -> None:
    answer = refused(401, array(GOOD), token=token)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "token" in answer.json["message"]


def test_the_scheme_of_the_token_is_in_any_case() -> None:
    assert answered(Gateway(), array(GOOD), token=f"bearer  {TOKEN} ").status == 200


def test_a_token_that_cannot_be_checked_is_503_and_not_401() -> None:
    async def cannot(_token: str) -> str | None:
        raise TokensUnavailable

    gateway = Gateway()
    gateway.app = IngestApp(
        gateway.memory, cannot, lambda: NOW, body_bytes_max=1024, bytes_in_flight_max=1024
    )
    assert refused(503, array(GOOD), gateway=gateway).headers["retry-after"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_405_and_say_which_is_right(method: str) -> None:
    assert refused(405, array(GOOD), method=method).headers["allow"] == "POST"


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/json; charset=latin-1", "application/x-ndjson"]
)
def test_the_content_type_is_ignored(kind: str | None) -> None:
    headers = [] if kind is None else [("content-type", kind)]
    assert answered(Gateway(), array(GOOD), headers=headers).status == 200


def test_a_body_in_pieces_is_put_together() -> None:
    gateway = Gateway()
    body = array(*(text(transaction_id=f"t-{n}") for n in range(100)))
    chunks = [body[n : n + 7] for n in range(0, len(body), 7)]
    assert answered(gateway, *chunks, declared=False).status == 200
    assert len(gateway.put) == 100


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_over_the_limit_is_413(declared: bool) -> None:
    chunks = [b" " * 100_000] * 11 + [array(GOOD)]
    answer = refused(413, *chunks, declared=declared)
    assert str(BODY_BYTES_MAX) in answer.json["message"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_at_the_limit_is_accepted(declared: bool) -> None:
    body = array(GOOD).rjust(BODY_BYTES_MAX)
    assert answered(Gateway(), body, declared=declared).status == 200
    refused(413, body + b" ", declared=declared)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP"])
def test_a_gzip_body_is_inflated(encoding: str) -> None:
    gateway = Gateway()
    zipped = gzip.compress(array(GOOD))
    headers = [("content-encoding", encoding)]
    assert answered(gateway, zipped[:20], zipped[20:], headers=headers).status == 200
    assert set(gateway.put) == {"t-1"}


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        array(GOOD),
        gzip.compress(array(GOOD))[:-1],
        gzip.compress(array(GOOD))[:-9],
        gzip.compress(array(GOOD))[:12],
        gzip.compress(array(GOOD))[:-8] + b"\0" * 8,  # another checksum
        gzip.compress(array(GOOD)) + b"junk",
        gzip.compress(array(GOOD)) + gzip.compress(array(text(transaction_id="lost"))),
    ],
)
def test_a_broken_gzip_body_is_400_and_never_partly_taken(broken: bytes) -> None:
    assert "gzip" in refused(400, broken, headers=GZIP).json["message"]


def test_a_gzip_bomb_is_413() -> None:
    bomb = gzip.compress(b" " * 40 * BODY_BYTES_MAX)
    assert len(bomb) < BODY_BYTES_MAX
    refused(413, bomb, headers=GZIP)


def test_a_gzip_body_that_inflates_to_the_limit_is_accepted() -> None:
    body = array(GOOD).rjust(BODY_BYTES_MAX)
    assert answered(Gateway(), gzip.compress(body), headers=GZIP).status == 200
    refused(413, gzip.compress(body + b" "), headers=GZIP)


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip"])
def test_another_encoding_is_415(encoding: str) -> None:
    refused(415, array(GOOD), headers=[("content-encoding", encoding)])


def test_without_kafka_it_is_503_with_retry_after_and_works_again_later() -> None:
    gateway = Gateway()
    gateway.memory.available = False
    answer = refused(503, array(GOOD), gateway=gateway)
    assert int(answer.headers["retry-after"]) >= 1
    gateway.memory.available = True
    assert answered(gateway, array(GOOD)).status == 200


def test_a_client_that_goes_away_is_not_answered_and_nothing_is_put() -> None:
    gateway = Gateway()
    assert asyncio.run(gateway.post(array(GOOD), disconnects=True)) is None
    assert gateway.put == {}


class WaitingSink:
    """Acknowledges when it is told to."""

    def __init__(self) -> None:
        self.acknowledge = asyncio.Event()
        self.waiting = 0

    async def put(self, events: Sequence[tuple[str, bytes]]) -> None:
        """See EventSink."""
        self.waiting += 1
        await self.acknowledge.wait()


BODY = array(GOOD)


def test_beyond_the_bytes_in_flight_it_is_503_at_once_and_they_are_released() -> None:
    async def scenario() -> None:
        sink = WaitingSink()
        gateway = Gateway(sink=sink, bytes_in_flight_max=3 * len(BODY))
        first = [asyncio.create_task(gateway.post(BODY)) for _ in range(3)]
        while sink.waiting < 3:
            await asyncio.sleep(0)
        refusal = await gateway.post(BODY)
        assert refusal is not None
        assert (refusal.status, bool(refusal.headers["retry-after"])) == (503, True)
        assert sink.waiting == 3
        sink.acknowledge.set()
        answers = [*await asyncio.gather(*first), await gateway.post(BODY)]
        assert [answer.status for answer in answers if answer] == [200] * 4

    asyncio.run(scenario())


def test_a_200_is_never_given_before_the_acknowledgement() -> None:
    async def scenario() -> None:
        sink = WaitingSink()
        posting = asyncio.create_task(Gateway(sink=sink).post(BODY))
        await asyncio.sleep(0.02)
        assert sink.waiting == 1
        assert not posting.done()
        sink.acknowledge.set()
        answer = await posting
        assert answer is not None
        assert answer.status == 200

    asyncio.run(scenario())


async def bad(gateway: Gateway) -> None:
    await gateway.post(b"[{}]")


async def broken_gzip(gateway: Gateway) -> None:
    await gateway.post(b"junk", headers=GZIP)


async def too_long(gateway: Gateway) -> None:
    await gateway.post(b" " * BODY_BYTES_MAX, b" ", declared=False)


async def gone(gateway: Gateway) -> None:
    await gateway.post(BODY, disconnects=True)


async def away(gateway: Gateway) -> None:
    gateway.memory.available = False
    await gateway.post(BODY)
    gateway.memory.available = True


async def cancelled(gateway: Gateway) -> None:
    posting = asyncio.create_task(gateway.post(BODY))
    await asyncio.sleep(0)
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)


@pytest.mark.parametrize("ending", [bad, broken_gzip, too_long, gone, away, cancelled])
def test_every_ending_of_a_request_releases_its_bytes(ending: Callable[[Gateway], Any]) -> None:
    """One request's worth of memory: did an ending keep it, the next request would be refused."""

    async def scenario() -> None:
        gateway = Gateway(bytes_in_flight_max=BODY_BYTES_MAX)
        for _ in range(3):
            await ending(gateway)
        answer = await gateway.post(BODY, declared=False)
        assert answer is not None
        assert answer.status == 200

    asyncio.run(scenario())
