"""Reading requests: bodies as exact JSON whatever they are labelled, and within limits.

Metronome's curl lines send `-d` without a Content-Type, so JSON arrives labelled as a form.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from services.api.errors import ApiError, fault, field_path, refused
from services.api.replies import Fault
from services.runtime.http import Disconnected, HttpError, read_body
from services.runtime.json import NotJson, decode_json

# 2,000 aliases of 128 characters or a plan of thousands of tiers fit; also the inflated size.
BODY_BYTES_MAX = 4 * 1024 * 1024
_FAULTS_MAX = 100


class ExactRequest(Request):
    """A request whose body is JSON with exact numbers and text that PostgreSQL can hold."""

    _inflated: bytes | None = None

    async def body(self) -> bytes:
        """The body, inflated; raises ApiError for one over the limit or not whole."""
        if self._inflated is None:
            try:
                self._inflated = await read_body(self.scope, self.receive, BODY_BYTES_MAX)
            except HttpError as error:
                raise _refusal(error) from error
            except Disconnected as error:
                raise ClientDisconnect from error
        return self._inflated

    async def json(self) -> Any:
        """The decoded body; raises ApiError."""
        try:
            document = decode_json(await self.body())
        except NotJson as error:
            raise refused(fault("body", f"is not JSON: {error}")) from error
        faults = unstorable_text(document)
        if faults:
            raise refused(*faults)
        return document


class ExactRoute(APIRoute):
    """A route whose handler is given an `ExactRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler over our request."""
        handle = super().get_route_handler()

        async def handle_exact(request: Request) -> Response:
            MutableHeaders(scope=request.scope)["content-type"] = "application/json"
            return await handle(ExactRequest(request.scope, request.receive))

        return handle_exact


def _refusal(error: HttpError) -> ApiError:
    if error.status == 413:
        return ApiError(413, f"the body exceeds {BODY_BYTES_MAX} bytes")
    return ApiError(error.status, error.message, headers=error.headers)


def unstorable_text(document: object) -> list[Fault]:
    """Every text of a document that PostgreSQL cannot hold. A loop, so that depth is no limit."""
    faults: list[Fault] = []
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), document)]
    while waiting and len(faults) < _FAULTS_MAX:
        place, value = waiting.pop()
        if isinstance(value, str):
            reason = text_fault(value)
            if reason is not None:
                faults.append(fault(field_path(place) or "body", reason))
        elif isinstance(value, dict):
            for name, part in value.items():
                reason = text_fault(name)
                if reason is not None:
                    faults.append(fault(field_path(place) or "body", f"has a key that {reason}"))
                else:
                    waiting.append(((*place, name), part))
        elif isinstance(value, list):
            waiting.extend(((*place, index), part) for index, part in enumerate(value))
    faults.reverse()  # the last of a container is looked at first
    return faults


def text_fault(text: str) -> str | None:
    """Why PostgreSQL cannot hold a text; None when it can."""
    if "\0" in text:
        return "holds the character NUL (U+0000)"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is no character"
    return None
