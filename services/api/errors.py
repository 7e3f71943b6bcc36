"""What goes wrong, as the caller sees it: a status, a message, every fault named. No stack trace
ever leaves the process.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import Response

from services.api.replies import Fault, exact

# A restart of PostgreSQL takes about this long; the official client waits what it is told.
RETRY_AFTER_S = "1"
# The official client retries a 409 twice, although it can never succeed (METRONOME 6.2).
NOT_AGAIN = {"x-should-retry": "false"}

# PostgreSQL is away, restarting, full or failing over: the request may be sent again.
UNAVAILABLE: tuple[type[Exception], ...] = (
    OSError,  # TimeoutError included
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
)


class ApiError(HTTPException):
    """A refusal with its reply."""

    def __init__(
        self,
        status: int,
        message: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.faults = faults


def fault(field: str, reason: str) -> Fault:
    """One fault."""
    return Fault(field=field, reason=reason)


def refused(*faults: Fault) -> ApiError:
    """400 that names every fault at once."""
    assert faults, "a refusal names at least one fault"
    texts = [f"{item['field']}: {item['reason']}" for item in faults]
    message = texts[0] if len(texts) == 1 else f"{len(texts)} faults: {'; '.join(texts)}"
    return ApiError(400, message, faults)


def not_found(what: str, identity: object) -> ApiError:
    """404 for an id that nothing has."""
    return ApiError(404, f"{what} {identity} not found")


def conflict(message: str) -> ApiError:
    """409 that tells the official client not to send the request again."""
    return ApiError(409, message, headers=NOT_AGAIN)


def unavailable(what: str = "the database") -> ApiError:
    """503: nothing was changed for certain, or it was and its reply was lost; ask again."""
    return ApiError(
        503,
        f"{what} is not available; send the request again in a moment",
        headers={"Retry-After": RETRY_AFTER_S},
    )


def response_to(error: StarletteHTTPException) -> Response:
    """The reply that an error stands for."""
    content: dict[str, object] = {"message": _message(error)}
    if isinstance(error, ApiError) and error.faults:
        content["errors"] = list(error.faults)
    return exact(content, status=error.status_code, headers=error.headers)


def _message(error: StarletteHTTPException) -> str:
    if isinstance(error, ApiError):
        return str(error.detail)
    if error.status_code == 404:
        return "no such path; see /openapi.json for those there are"
    if error.status_code == 405:
        return "this path does not take that method; see /openapi.json"
    return str(error.detail)


def install(app: FastAPI) -> None:
    """Make every error of `app` one of the above."""
    app.add_exception_handler(StarletteHTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(Exception, _answer_bug)
    for kind in UNAVAILABLE:
        app.add_exception_handler(kind, _answer_unavailable)


async def _answer_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return response_to(error)


async def _answer_unavailable(_request: Request, _error: Exception) -> Response:
    return response_to(unavailable())


async def _answer_bug(_request: Request, _error: Exception) -> Response:
    # The server logs the error itself: Starlette raises it again after this reply.
    return response_to(ApiError(500, "a bug in Tollgate; its log has the details"))


async def _answer_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = error.errors()
    for detail in details:
        if detail["loc"][0] == "path":
            what = str(detail["loc"][1]).removesuffix("_id").replace("_", " ")
            return response_to(not_found(what, detail["input"]))
    return response_to(refused(*(item for detail in details for item in _faults_of(detail))))


def _faults_of(detail: Mapping[str, Any]) -> list[Fault]:
    """The faults in one of pydantic's errors; one of ours carries several (`fields.reject`)."""
    field = field_path(detail["loc"][1:])
    inner = (detail.get("ctx") or {}).get("faults")
    if inner is not None:
        return [fault(f"{field}{suffix}".lstrip("."), reason) for suffix, reason in inner]
    match detail["type"]:
        case "missing":
            reason = "is missing"
        case "extra_forbidden":
            reason = "is not a field that Tollgate knows here"
        case "none_required" | "model_attributes_type" | "dict_type":
            reason = "must be a JSON object"
        case _:
            reason = str(detail["msg"]).removeprefix("Value error, ")
            reason = reason[:1].lower() + reason[1:]
    return [fault(field or "body", reason)]


def field_path(location: Sequence[str | int]) -> str:
    """charges[0].prices[1].tier"""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")
