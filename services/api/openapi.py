"""The description of the HTTP API. `python -m services.api.openapi` writes it to
schemas/openapi.json; a test fails when that file is out of date."""

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.api.routes import routers
from services.domain.event import (
    CUSTOMER_ID_LENGTH_MAX,
    EVENT_TYPE_LENGTH_MAX,
    EVENTS_PER_REQUEST_MAX,
    PROPERTIES_MAX,
    TRANSACTION_ID_LENGTH_MAX,
)

API_VERSION = "1.0.0"
_DESCRIPTION = (
    "Usage metering and billing that speaks Metronome's HTTP API. Every request but those for "
    "this description carries a bearer token. Numbers are exact decimals: read them with a "
    "decimal parser to keep every digit. Lists page with `limit` and `next_page` in the query, "
    "POST ones too."
)
_REFUSALS = {
    "400": "The request is malformed; `errors` names every fault",
    "401": "The bearer token is missing or unknown",
    "404": "There is no such thing",
    "408": "The body did not come in time; send it again",
    "409": "It clashes with what there is; sending it again cannot help",
    "413": "The body is too large",
    "503": "Not available now; send it again after Retry-After",
}
_INGEST_REFUSALS = ("400", "401", "408", "413", "503")


@cache
def describe() -> dict[str, Any]:
    """The OpenAPI document of every endpoint, with what the gateway answers."""
    app = FastAPI()
    for router in routers():
        app.include_router(router)
    document: dict[str, Any] = get_openapi(
        title="Tollgate",
        version=API_VERSION,
        description=_DESCRIPTION,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    # FastAPI's own 422, which Tollgate never answers.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    schemas["UsageEvent"] = _USAGE_EVENT
    components["securitySchemes"] = {"bearerAuth": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"bearerAuth": []}]
    for item in document["paths"].values():
        for method, operation in item.items():
            _finish(method, operation)
    document["paths"]["/v1/ingest"] = {"post": _INGEST}
    return document


def _finish(method: str, operation: dict[str, Any]) -> None:
    """The refusals that every operation has, in place of FastAPI's."""
    responses = operation["responses"]
    responses.pop("422", None)
    changes = method in ("post", "put")
    for status, description in _REFUSALS.items():
        if changes or status not in ("408", "409", "413"):
            responses[status] = _refusal(description)


def _refusal(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _text(length_max: int, description: str) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": length_max, "description": description}


_FAULT = {
    "type": "object",
    "required": ["field", "reason"],
    "properties": {
        "index": {"type": "integer", "description": "which event; of ingest only"},
        "field": {"type": "string"},
        "reason": {"type": "string"},
    },
}
_ERROR = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string"},
        "errors": {"type": "array", "items": _FAULT},
    },
}
_USAGE_EVENT = {
    "type": "object",
    "required": ["transaction_id", "customer_id", "event_type", "timestamp"],
    "properties": {
        "transaction_id": _text(TRANSACTION_ID_LENGTH_MAX, "counted once in 34 days"),
        "customer_id": _text(CUSTOMER_ID_LENGTH_MAX, "a customer's id or one of its aliases"),
        "event_type": _text(EVENT_TYPE_LENGTH_MAX, "compared exactly, case included"),
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "RFC 3339 with a zone; at most 34 days back and 24 hours ahead",
        },
        "properties": {
            "type": "object",
            "maxProperties": PROPERTIES_MAX,
            "additionalProperties": True,
        },
    },
}
_INGEST = {
    "tags": ["Usage"],
    "summary": "Ingest",
    "description": "Take usage events. 200: every one of them is stored, and will be counted "
    "exactly once. A request is taken or refused as a whole.",
    "operationId": "ingest_v1_ingest_post",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": EVENTS_PER_REQUEST_MAX,
                    "items": {"$ref": "#/components/schemas/UsageEvent"},
                }
            }
        },
    },
    "responses": {
        "200": {"description": "Stored; the body is empty"},
        **{status: _refusal(_REFUSALS[status]) for status in _INGEST_REFUSALS},
    },
}


def document_text() -> str:
    """The content of schemas/openapi.json."""
    return json.dumps(describe(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the file."""
    path = cast(Path, files("schemas")) / "openapi.json"
    path.write_text(document_text(), encoding="utf-8")


if __name__ == "__main__":
    main()
