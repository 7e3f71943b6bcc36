"""What every ASGI app of ours shares: reading a bounded body, answering exact JSON, the bearer.

Never routes and never decides what a request means.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from services.runtime.at_once import within
from services.runtime.json import encode_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class HttpError(Exception):
    """An answer other than 200: status, message, more fields of the body, headers."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})


def header(scope: Scope, name: bytes) -> bytes | None:
    """The first header of that name (lower case), None when absent."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


def bearer_token(scope: Scope) -> str | None:
    """The token of `Authorization: Bearer`, None when there is none."""
    value = header(scope, b"authorization")
    if value is None or value[:7].lower() != b"bearer ":
        return None
    return value[7:].strip().decode("latin-1") or None


UNAUTHORIZED = HttpError(
    401,
    "missing or unknown token; send Authorization: Bearer with one from `tollgate token create`",
    headers={"WWW-Authenticate": "Bearer"},
)


class Disconnected(Exception):
    """The client went away before its body was whole."""


# From the first byte of a request to the last of its body. The largest takes 2 s over a line of 16
# Mbit/s; what takes ten times that stands still, and holds a connection and memory.
BODY_WAIT_S_MAX = 20.0


def declared_length(scope: Scope) -> int:
    """The body's length as its header says; 0 when it does not."""
    declared = header(scope, b"content-length")
    return int(declared) if declared is not None and declared.isdigit() else 0


async def read_body(
    scope: Scope,
    receive: Receive,
    bytes_max: int,
    take: Callable[[int], None] = lambda _size: None,
) -> bytes:
    """The whole body, gunzipped when it says so; raises HttpError 413 beyond `bytes_max` (before
    and after inflating), 408 when it does not come within BODY_WAIT_S_MAX, 400 for broken gzip,
    415 for another encoding. `take` is told of the bytes of each piece before it is kept."""
    try:
        body = await within(BODY_WAIT_S_MAX, _received(scope, receive, bytes_max, take))
    except TimeoutError as error:
        message = f"the body did not come within {BODY_WAIT_S_MAX:.0f} s; send the request again"
        raise HttpError(408, message) from error
    encoding = (header(scope, b"content-encoding") or b"identity").lower()
    if encoding == b"identity":
        return body
    if encoding != b"gzip":
        raise HttpError(415, "Content-Encoding must be gzip or absent")
    inflated = _gunzip(body, bytes_max)
    take(max(0, len(inflated) - len(body)))
    return inflated


async def _received(
    scope: Scope, receive: Receive, bytes_max: int, take: Callable[[int], None]
) -> bytes:
    if declared_length(scope) > bytes_max:
        raise too_large(bytes_max)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            raise too_large(bytes_max)
        take(len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _gunzip(body: bytes, bytes_max: int) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        inflated = inflater.decompress(body, bytes_max + 1)
    except zlib.error as error:
        raise HttpError(400, f"the body is not gzip: {error}") from error
    if len(inflated) > bytes_max:
        raise too_large(bytes_max)
    if not inflater.eof:
        raise HttpError(400, "the gzip body is cut off")
    if inflater.unused_data:
        raise HttpError(400, "something follows the end of the gzip body; send it as one member")
    return inflated


# Of a refused request, this much is read and thrown away so that the client sees the answer.
_DRAIN_BYTES_MAX = 64 * 1024 * 1024


def drained(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """The pair to give to an app so that no answer is lost: before one starts, what is left of the
    request's body is read and dropped. Closing a connection on unread bytes resets it, and the
    client would see the reset instead of the 401, 413 or 503. What has not come by BODY_WAIT_S_MAX
    after the request's begin is not waited for; the answer then closes the connection."""
    whole = False
    end_s = asyncio.get_running_loop().time() + BODY_WAIT_S_MAX

    async def noting_receive() -> Message:
        nonlocal whole
        message = await receive()
        whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def draining_send(message: Message) -> None:
        if message["type"] == "http.response.start" and not whole:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(end_s):
                    await drain()
            if not whole:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    async def drain() -> None:
        dropped = 0
        while not whole and dropped < _DRAIN_BYTES_MAX:
            dropped += len((await noting_receive()).get("body", b""))

    return noting_receive, draining_send


def too_large(bytes_max: int) -> HttpError:
    """413."""
    return HttpError(413, f"the body exceeds {bytes_max} bytes; send fewer events a request")


async def respond(
    send: Send, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> None:
    """Send a whole response; JSON unless the body is empty."""
    wire = [(b"content-length", str(len(body)).encode())]
    if body:
        wire.append((b"content-type", b"application/json"))
    wire += [(key.lower().encode(), value.encode()) for key, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": wire})
    await send({"type": "http.response.body", "body": body})


async def respond_error(send: Send, error: HttpError) -> None:
    """Send an HttpError as `{"message": ..., ...}`."""
    body = encode_json({"message": error.message, **error.fields})
    await respond(send, error.status, body, error.headers)
