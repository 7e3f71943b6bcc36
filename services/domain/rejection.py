"""Why an event was not counted: a closed list. Wrong data is a value of it, never an exception."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Reason(StrEnum):
    """Machine-readable reason; `detail` beside it says the rest in words."""

    # Found by dedup: the record on usage.raw is not an event of ours.
    NOT_JSON = "not_json"
    NOT_AN_EVENT = "not_an_event"
    WRONG_KEY = "wrong_key"  # the record's key is not its transaction_id
    WRONG_PARTITION = "wrong_partition"  # dedup could not promise anything about it here
    TOO_LARGE = "too_large"
    # Found by rating, for one metric.
    NOT_A_NUMBER = "not_a_number"
    MISSING_VALUE = "missing_value"
    GROUP_TOO_LONG = "group_too_long"


@dataclass(frozen=True, slots=True)
class Rejection:
    """One event that one metric (or, with metric_id None, every metric) did not count."""

    offset: int
    reason: Reason
    detail: str
    metric_id: UUID | None
