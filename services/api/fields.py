"""The kinds of value that requests hold, each with its limits and the words for what is wrong.

Texts that come in some spelling leave here in one; numbers and times leave here exact.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from services.domain.number import (
    FRACTION_DIGITS_MAX,
    INTEGER_DIGITS_MAX,
    parse_number,
    text_of,
)
from services.domain.schedule import FIRST_DAY
from services.runtime.event_time import to_microseconds

NAME_LENGTH_MAX = 256
CUSTOM_FIELDS_MAX = 100
CUSTOM_FIELD_LENGTH_MAX = 200  # Metronome's limit on a value

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_NUMERIC = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Body(BaseModel):
    """A request body: unknown fields are refused, so that a typo never passes for a value."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def reject(faults: Sequence[tuple[str, str]]) -> None:
    """From a validator: raise every (path below the validated field, reason) at once."""
    if faults:
        raise PydanticCustomError("faults", "has faults", {"faults": list(faults)})


def _wrong(reason: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{reason}", {"reason": reason})


def _instant(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or _RFC_3339.fullmatch(value) is None:
        raise _wrong("must be an RFC 3339 time with a zone, e.g. 2026-11-01T00:00:00Z")
    try:
        return datetime.fromisoformat(to_microseconds(value.upper())).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _wrong(f"is not a time: {error}") from error


def _midnight(value: object) -> datetime:
    instant = _instant(value)
    if instant.time() != time(0):
        raise _wrong("must be at 00:00 UTC")
    return instant


def _whole_hour(value: object) -> datetime:
    instant = _instant(value)
    if (instant.minute, instant.second, instant.microsecond) != (0, 0, 0):
        raise _wrong("must be at a whole hour of UTC: usage is kept by the hour")
    # The first instant that Python has stands for "before all time" in the database.
    if instant < FIRST_DAY:
        raise _wrong(f"must be from {FIRST_DAY:%Y-%m-%d} on")
    return instant


def _number(value: object) -> Decimal:
    number = parse_number(value)
    if number is None:
        if not _is_numeric(value):
            raise _wrong(f"must be a number, not {json_kind(value)}")
        raise _wrong(
            "must be a number of at most "
            f"{INTEGER_DIGITS_MAX} digits before and {FRACTION_DIGITS_MAX} after the point"
        )
    return number


def _is_numeric(value: object) -> bool:
    """Whether it is a number but for its length: 1 and "1e400" are, true and "" are not."""
    if isinstance(value, str):
        return _NUMERIC.fullmatch(value) is not None
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def json_kind(value: object) -> str:
    """What a JSON value is that is no number, in words for a fault."""
    match value:
        case None:
            return "null: it is missing"
        case bool():
            return "true" if value else "false"
        case str():
            return "other text"
        case list():
            return "an array"
        case _:
            return "an object"


def _positive(number: Decimal) -> Decimal:
    if number <= 0:
        raise _wrong(f"must be greater than 0, not {text_of(number)}")
    return number


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise _wrong(f"must be 0 or more, not {text_of(number)}")
    return number


def _id(value: object) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(str(value))
    except ValueError as error:
        raise _wrong("must be a UUID") from error


def _any_case(kind: type[StrEnum]) -> Callable[[object], object]:
    """Metronome documents three spellings of most enumerations (METRONOME 3.0)."""
    by_text = {member.value.lower(): member for member in kind}

    def find(value: object) -> StrEnum:
        member = by_text.get(value.lower()) if isinstance(value, str) else None
        if member is None:
            raise _wrong(f"must be one of {', '.join(item.value for item in kind)}")
        return member

    return find


def any_case(kind: type[StrEnum]) -> BeforeValidator:
    """Accepts a member's value in any case."""
    return BeforeValidator(_any_case(kind))


def not_yet(value: Any) -> None:
    """For a field of Metronome's that must not be ignored in silence: only its absence passes, an
    empty object is as much asked for as a full one."""
    if value is not None:
        raise _wrong("is not supported by Tollgate yet; leave it out")


def flag_not_yet(value: Any) -> None:
    """The same for a flag, of which false says what its absence does."""
    if value is not False:
        not_yet(value)


_TIME_SCHEMA = {"type": "string", "format": "date-time"}

Instant = Annotated[datetime, BeforeValidator(_instant), WithJsonSchema(_TIME_SCHEMA)]
Midnight = Annotated[
    datetime,
    BeforeValidator(_midnight),
    WithJsonSchema({**_TIME_SCHEMA, "description": "RFC 3339, at 00:00 UTC"}),
]
WholeHour = Annotated[
    datetime,
    BeforeValidator(_whole_hour),
    WithJsonSchema({**_TIME_SCHEMA, "description": "RFC 3339, at a whole hour of UTC"}),
]
ExactNumber = Annotated[
    Decimal,
    BeforeValidator(_number),
    WithJsonSchema({"type": "number", "description": "every digit is kept; text is taken too"}),
]
Positive = Annotated[ExactNumber, AfterValidator(_positive)]
NotNegative = Annotated[ExactNumber, AfterValidator(_not_negative)]
Identity = Annotated[
    UUID, BeforeValidator(_id), WithJsonSchema({"type": "string", "format": "uuid"})
]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH_MAX)]
NotYet = Annotated[
    None,
    BeforeValidator(not_yet),
    WithJsonSchema({"description": "not supported by Tollgate yet: refused unless absent"}),
]
FlagNotYet = Annotated[
    None,
    BeforeValidator(flag_not_yet),
    WithJsonSchema(
        {"description": "not supported by Tollgate yet: refused unless absent or false"}
    ),
]
CustomFields = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=CUSTOM_FIELD_LENGTH_MAX)],
        Annotated[str, Field(max_length=CUSTOM_FIELD_LENGTH_MAX)],
    ],
    Field(max_length=CUSTOM_FIELDS_MAX),
]
