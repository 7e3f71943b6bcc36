"""Replies: our own exact JSON, and the envelopes that every endpoint shares. Never a float."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Generic, NotRequired, TypeVar
from uuid import UUID

from pydantic import WithJsonSchema
from starlette.responses import Response
from typing_extensions import TypedDict  # pydantic describes this one on Python 3.11 too

from services.domain.number import plain
from services.runtime.json import encode_json

Item = TypeVar("Item")

# A JSON number with all its digits.
Number = Annotated[Decimal, WithJsonSchema({"type": "number"})]


class Data(TypedDict, Generic[Item]):
    """One object."""

    data: Item


class Page(TypedDict, Generic[Item]):
    """Some of a list; `next_page` asks for what follows, null at the end."""

    data: list[Item]
    next_page: str | None


class Id(TypedDict):
    """The id of what was made or changed."""

    id: UUID


class CreditTypeName(TypedDict):
    """A pricing unit, as other objects name it."""

    id: UUID
    name: str


class Fault(TypedDict):
    """What is wrong with one field."""

    field: str
    reason: str


class Error(TypedDict):
    """Why a request was refused; `errors` when it was its content."""

    message: str
    errors: NotRequired[list[Fault]]


class Empty(TypedDict):
    """An object without fields."""


def exact(
    content: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A reply whose numbers keep every digit."""
    return Response(encode_json(content), status, headers, "application/json")


def empty() -> Response:
    """200 with an empty body, where Metronome has one."""
    return Response(b"", 200)


def data(item: object) -> Response:
    """One object."""
    return exact({"data": item})


def page(items: list[Any], next_page: str | None) -> Response:
    """Some of a list."""
    return exact({"data": items, "next_page": next_page})


def shown(number: Decimal | None) -> Decimal | None:
    """A number as replies have it: 6000, not 6E+3 or 6000.0."""
    return None if number is None else plain(number)
