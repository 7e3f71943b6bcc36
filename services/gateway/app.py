"""POST /v1/ingest as a raw ASGI app: the hot path. Depends on Kafka; tokens come from a cache."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import msgspec

from services.gateway.sink import EventSink, Unavailable
from services.gateway.validation import BadRequest, accept
from services.runtime.failpoint import reach, reach_soon
from services.runtime.http import (
    UNAUTHORIZED,
    Disconnected,
    HttpError,
    Receive,
    Scope,
    Send,
    bearer_token,
    declared_length,
    read_body,
    respond,
    respond_error,
)
from services.runtime.tokens import TokensUnavailable

PATH = "/v1/ingest"
RETRY_AFTER_S = "1"

TokenCheck = Callable[[str], Awaitable[str | None]]


class IngestApp:
    """Accepts a request's events whole or not at all."""

    def __init__(
        self,
        sink: EventSink,
        name_of: TokenCheck,
        now: Callable[[], datetime],
        *,
        body_bytes_max: int,
        bytes_in_flight_max: int,
    ) -> None:
        self._sink = sink
        self._name_of = name_of
        self._now = now
        self._body_bytes_max = body_bytes_max
        self._bytes_in_flight_max = bytes_in_flight_max
        self._bytes_in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            await self._ingest(scope, receive)
        except HttpError as error:
            await respond_error(send, error)
        except BadRequest as refusal:
            await respond_error(send, _bad_request(refusal))
        except Unavailable as absent:
            await respond_error(send, unavailable(str(absent)))
        except TokensUnavailable:
            message = "the token cannot be checked right now; send again in a moment"
            await respond_error(send, unavailable(message))
        except Disconnected:
            return
        else:
            reach("before_reply")
            await respond(send, 200)
            reach_soon("after_reply")

    async def _ingest(self, scope: Scope, receive: Receive) -> None:
        if scope["method"] != "POST":
            raise HttpError(405, "use POST", headers={"Allow": "POST"})
        token = bearer_token(scope)
        if token is None or await self._name_of(token) is None:
            raise UNAUTHORIZED
        # What would not fit is refused before it is read. Memory is only taken for what came: an
        # upload that stands still must not keep others out.
        self._check_room(min(declared_length(scope), self._body_bytes_max))
        held = 0

        def take(size: int) -> None:
            nonlocal held
            self._check_room(size)
            held += size
            self._bytes_in_flight += size

        try:
            # While Kafka is waited for, nothing here holds the body or what was read from it.
            await self._sink.put(await self._events(scope, receive, take))
        finally:
            self._bytes_in_flight -= held

    async def _events(
        self, scope: Scope, receive: Receive, take: Callable[[int], None]
    ) -> list[tuple[str, bytes]]:
        body = await read_body(scope, receive, self._body_bytes_max, take)
        return [(event.transaction_id, content) for event, content in accept(body, self._now())]

    def _check_room(self, size: int) -> None:
        if self._bytes_in_flight + size > self._bytes_in_flight_max:
            raise unavailable("too much is waiting for Kafka; send again in a moment")


def unavailable(message: str) -> HttpError:
    """503: nothing is promised, sending the same batch again is safe."""
    return HttpError(503, message, headers={"Retry-After": RETRY_AFTER_S})


def _bad_request(refusal: BadRequest) -> HttpError:
    if not refusal.faults:
        return HttpError(400, refusal.message)
    errors = [
        {"index": fault.index, "field": fault.field, "reason": fault.reason}
        for fault in refusal.faults
    ]
    return HttpError(400, refusal.message, fields={"errors": msgspec.to_builtins(errors)})
