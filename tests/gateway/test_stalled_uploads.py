"""Uploads that stand still: they are answered 408, and keep nobody else out meanwhile."""

import asyncio
from collections.abc import Sequence

import pytest

from services.runtime import http
from services.runtime.http import Message, Scope, drained
from tests.gateway.asgi import BODY_BYTES_MAX, TOKEN, Gateway
from tests.gateway.bodies import GOOD, array

BODY = array(GOOD)
LIMIT_S = 5
ENCODED = [(b"content-encoding", b"gzip"), (b"content-length", b"300")]


class Upload:
    """A request that sends what it has and then no more; behind `drained`, as in the process."""

    def __init__(self, gateway: Gateway, *headers: tuple[bytes, bytes], sends: bytes) -> None:
        self.sent: list[Message] = []
        self._sends = [sends]
        authorization = (b"authorization", f"Bearer {TOKEN}".encode())
        scope: Scope = {"type": "http", "method": "POST", "headers": [authorization, *headers]}
        receive, send = drained(self._receive, self._send)
        self.task = asyncio.ensure_future(gateway.app(scope, receive, send))

    async def _receive(self) -> Message:
        if not self._sends:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": self._sends.pop(), "more_body": True}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("headers", [ENCODED, [], [(b"content-length", b"300")]])
def test_uploads_that_stand_still_keep_nobody_out(headers: Sequence[tuple[bytes, bytes]]) -> None:
    async def scenario() -> None:
        gateway = Gateway(bytes_in_flight_max=4 * BODY_BYTES_MAX)
        stalled = [Upload(gateway, *headers, sends=b"[") for _ in range(20_000)]
        await asyncio.sleep(0)
        answer = await gateway.post(BODY)
        for upload in stalled:
            upload.task.cancel()
        await asyncio.gather(*(upload.task for upload in stalled), return_exceptions=True)
        assert answer is not None
        assert answer.status == 200

    asyncio.run(scenario())


def test_what_came_of_unfinished_bodies_counts_towards_the_limit() -> None:
    async def scenario() -> None:
        gateway = Gateway(bytes_in_flight_max=2 * BODY_BYTES_MAX)
        stalled = [Upload(gateway, sends=b" " * BODY_BYTES_MAX) for _ in range(2)]
        await asyncio.sleep(0)
        for declared in (True, False):
            answer = await gateway.post(BODY, declared=declared)
            assert answer is not None
            assert answer.status == 503
        for upload in stalled:
            upload.task.cancel()
        await asyncio.gather(*(upload.task for upload in stalled), return_exceptions=True)
        answer = await gateway.post(BODY)
        assert answer is not None
        assert answer.status == 200

    asyncio.run(scenario())


def test_an_upload_that_stands_still_is_answered_408_and_its_connection_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "BODY_WAIT_S_MAX", 0.05)

    async def scenario() -> None:
        gateway = Gateway(bytes_in_flight_max=BODY_BYTES_MAX)
        upload = Upload(gateway, *ENCODED, sends=b" " * BODY_BYTES_MAX)
        async with asyncio.timeout(LIMIT_S):
            await upload.task
        start, body = upload.sent
        assert start["status"] == 408
        assert (b"connection", b"close") in start["headers"]
        assert b"send the request again" in body["body"]
        assert gateway.put == {}
        answer = await gateway.post(BODY)  # its memory is free again
        assert answer is not None
        assert answer.status == 200

    asyncio.run(scenario())


def test_a_refusal_does_not_wait_for_ever_for_the_rest_of_a_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "BODY_WAIT_S_MAX", 0.05)

    async def scenario() -> None:
        too_long = (b"content-length", b"%d" % (BODY_BYTES_MAX + 1))
        upload = Upload(Gateway(), too_long, sends=b"[")
        async with asyncio.timeout(LIMIT_S):
            await upload.task
        assert upload.sent[0]["status"] == 413
        assert (b"connection", b"close") in upload.sent[0]["headers"]

    asyncio.run(scenario())
