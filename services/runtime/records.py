"""The records on usage.unique and usage.rated: what two stages agree on, as JSON.

Published as schemas/records/*.schema.json (a test holds them equal). Shape only, no decisions.
Offsets inside a record are relative to `from`, which keeps records small.
"""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from services.runtime.events import DECODE_ERRORS, WireEvent

FORMAT_VERSION = 1


class RejectedRecord(msgspec.Struct, frozen=True):
    """A record of usage.raw that is not an event; keeps everything (a dead letter)."""

    offset: int  # relative to the range's `from`
    reason: str
    detail: str
    key: bytes | None  # base64 in JSON
    value: bytes | None  # base64 in JSON
    ingested_at_ms: int


class ConflictRecord(msgspec.Struct, frozen=True):
    """An event whose id was seen before with other content: a duplicate, flagged. What it says
    stands in usage.raw at its offset."""

    offset: int  # relative to the range's `from`
    first_offset: int  # raw offset, absolute, of the first sighting
    transaction_id: str
    ingested_at_ms: int


class UniqueBatch(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """One range of usage.raw after dedup. Offsets that are in none of the lists are duplicates."""

    format: int
    partition: int
    first: int  # raw offset, inclusive
    last: int  # raw offset, inclusive
    ingested_from_ms: int  # log-append time of `from`, milliseconds since the epoch
    ingested_to_ms: int  # of `to`
    offsets: list[int]  # of the unique events
    events: list[msgspec.Raw]  # canonical JSON, in the order of `offsets`
    conflicts: list[ConflictRecord]  # duplicates with other content
    rejected: list[RejectedRecord]


class UniqueEvents(UniqueBatch, frozen=True, rename={"first": "from", "last": "to"}):
    """The same record, its events parsed in the same pass."""

    events: list[WireEvent]  # type: ignore[assignment]  # the parsed form of the same JSON


class RatedAggregate(msgspec.Struct, frozen=True, array_like=True):
    """One partial aggregate. Numbers are text: exact, whatever reads them."""

    reference: str
    metric_id: UUID
    group: list[str | None]
    hour: int  # hours since 1970-01-01T00:00Z
    count: int
    total: Decimal
    peak: Decimal | None
    latest_at: datetime | None
    latest_offset: int | None  # raw offset, absolute
    latest: Decimal | None
    distinct: list[str]


class RatedRejection(msgspec.Struct, frozen=True):
    """An event that one metric (metric_id null: none at all) could not count. Of several metrics,
    only the first in the record carries key and value: they are large, and the same for all."""

    offset: int  # raw offset, absolute
    reason: str
    detail: str
    metric_id: UUID | None
    key: bytes | None  # base64 in JSON
    value: bytes | None  # base64 in JSON
    ingested_at_ms: int


class RatedConflict(msgspec.Struct, frozen=True):
    """A ConflictRecord, carried on."""

    offset: int  # raw offset, absolute
    first_offset: int  # raw offset, absolute
    transaction_id: str
    ingested_at_ms: int


class RatedBatch(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """The aggregates of one range. counted + duplicates + rejected = to - from + 1."""

    format: int
    partition: int
    first: int
    last: int
    source_offset: int  # of the usage.unique record this came from
    ingested_to_ms: int
    catalog_version: int
    counted: int  # unmatched included
    duplicates: int  # conflicts included
    conflicts: int  # how many `conflicting` has
    rejected: int
    unmatched: int
    aggregates: list[RatedAggregate]
    rejections: list[RatedRejection]
    conflicting: list[RatedConflict]


def whole_rejections(batch: RatedBatch) -> list[RatedRejection]:
    """The rejections of a record, each with the event's key and value."""
    found: list[RatedRejection] = []
    for rejection in batch.rejections:
        # Those of an event stand together.
        first = found[-1] if found and found[-1].offset == rejection.offset else rejection
        found.append(msgspec.structs.replace(rejection, key=first.key, value=first.value))
    return found


_ENCODER = msgspec.json.Encoder(decimal_format="string")
_UNIQUE = msgspec.json.Decoder(UniqueBatch)
_EVENTS_OF = msgspec.json.Decoder(UniqueEvents, float_hook=Decimal)
_RATED = msgspec.json.Decoder(RatedBatch)


class UnknownFormat(Exception):
    """A record on one of our own topics that this version cannot read: our bug or a mixed-up
    topic, so the stage stops rather than guess."""


def encode(record: UniqueBatch | RatedBatch) -> bytes:
    """Wire bytes of a record."""
    return _ENCODER.encode(record)


def decode_unique(value: bytes | None, place: str) -> UniqueBatch:
    """Read a usage.unique record; `place` (topic, partition, offset) goes into UnknownFormat."""
    try:
        batch = _UNIQUE.decode(value or b"")
    except DECODE_ERRORS as error:
        raise UnknownFormat(f"{place} is not a record of dedup: {error}") from error
    return batch


def decode_unique_events(value: bytes | None, place: str) -> UniqueEvents:
    """As decode_unique, with the events parsed."""
    try:
        return _EVENTS_OF.decode(value or b"")
    except DECODE_ERRORS as error:
        raise UnknownFormat(f"{place} is not a record of dedup: {error}") from error


def decode_rated(value: bytes | None, place: str) -> RatedBatch:
    """Read a usage.rated record; `place` (topic, partition, offset) goes into UnknownFormat."""
    try:
        batch = _RATED.decode(value or b"")
    except DECODE_ERRORS as error:
        raise UnknownFormat(f"{place} is not a record of rating: {error}") from error
    return batch


def instant_of(milliseconds: int) -> datetime:
    """A Kafka timestamp as an aware UTC datetime, exactly."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
