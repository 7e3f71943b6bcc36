"""Pages: a limit, and an opaque cursor that names the last item shown by its place in the order.

A cursor holds a place, never a count of items: what is added meanwhile repeats and skips nothing.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query

from services.api.errors import fault, refused
from services.api.request import text_fault
from services.runtime.json import NotJson, decode_json, encode_json

PAGE_MAX = 100
_BIGINT_MAX = 2**63 - 1

Limit = Annotated[
    int, Query(ge=1, le=PAGE_MAX, description="Most items to return; 100 when absent")
]
NextPage = Annotated[
    str | None, Query(description="The next_page of the reply before, for what follows it")
]

Row = TypeVar("Row")


def encode_cursor(*place: int | str | list[str | None]) -> str:
    """A place as opaque text."""
    return urlsafe_b64encode(encode_json(place)).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type) -> list[Any] | None:
    """The place in a cursor of these kinds of value; None when there is no cursor."""
    if not cursor:
        return None
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        place = decode_json(text)
    except (NotBase64, ValueError, NotJson) as error:
        raise _bad_cursor() from error
    if not isinstance(place, list) or len(place) != len(kinds):
        raise _bad_cursor()
    if not all(_fits(value, kind) for value, kind in zip(place, kinds, strict=True)):
        raise _bad_cursor()
    return place


def _fits(value: object, kind: type) -> bool:
    if type(value) is not kind:
        return False
    if isinstance(value, int):
        return abs(value) <= _BIGINT_MAX
    if isinstance(value, str):
        return text_fault(value) is None
    if isinstance(value, list):
        return all(item is None or isinstance(item, str) for item in value)
    return True


def _bad_cursor() -> Exception:
    return refused(
        fault("next_page", "is not a cursor of this list; send the one of the last reply unchanged")
    )


def after(cursor: str | None) -> int:
    """The ordinal after which an ascending list goes on; ordinals start at 1."""
    place = decode_cursor(cursor, int)
    return 0 if place is None else int(place[0])


def split_page(
    rows: Sequence[Row], limit: int, place: Callable[[Row], tuple[int | str, ...]]
) -> tuple[Sequence[Row], str | None]:
    """Of at most `limit` + 1 rows: the page, and the cursor when there is more."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], encode_cursor(*place(rows[limit - 1]))
