"""The records on usage.unique and usage.rated: what two stages agree on, as JSON.

Published as schemas/records/*.schema.json (a test holds them equal). Shape only, no decisions.
Offsets inside a record are relative to `from`, which keeps records small.
"""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import msgspec

from services.runtime.event_time import cut_each, may_be_finer
from services.runtime.events import DECODE_ERRORS, WireEvent

FORMAT_VERSION = 1  # of usage.unique
# Format 1 had an array of eleven fields for each aggregate; it is still read.
RATED_FORMAT = 2
INTEGER_MAX = 2**53  # exclusive; what a reader with floats takes exactly


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


class RatedTally(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The aggregates of one metric, group and hour, as columns: one cell for each reference. A
    column that the metric does not use is empty.

    A whole number below 2^53 is a JSON integer, which every reader takes exactly; any other number
    is text."""

    group: list[str | None]
    hour: int  # hours since 1970-01-01T00:00Z
    references: list[str]
    counts: list[int]
    totals: list[int | Decimal]
    peaks: list[int | Decimal]
    latest_at: list[datetime]
    latest_offsets: list[int]  # raw offsets, absolute
    latest: list[int | Decimal]
    distinct: list[list[str]]


class RatedMetric(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one metric counted."""

    metric_id: UUID
    tallies: list[RatedTally]


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


class RatedHead(msgspec.Struct, frozen=True, rename={"first": "from", "last": "to"}):
    """A record of usage.rated without what was counted and refused: which range it is, and the
    fates of its offsets. counted + duplicates + rejected = to - from + 1."""

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


class RatedBatch(RatedHead, frozen=True, rename={"first": "from", "last": "to"}):
    """The aggregates of one range, and the events that were refused or in conflict."""

    metrics: list[RatedMetric]
    rejections: list[RatedRejection]
    conflicting: list[RatedConflict]


class RatedAggregate1(msgspec.Struct, frozen=True, array_like=True):
    """One aggregate of format 1, its numbers text. Only read."""

    reference: str
    metric_id: UUID
    group: list[str | None]
    hour: int
    count: int
    total: Decimal
    peak: Decimal | None
    latest_at: datetime | None
    latest_offset: int | None
    latest: Decimal | None
    distinct: list[str]


class RatedBatch1(RatedHead, frozen=True, rename={"first": "from", "last": "to"}):
    """A record of format 1. Only read."""

    aggregates: list[RatedAggregate1]
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
_RATED_1 = msgspec.json.Decoder(RatedBatch1)
_RATED_HEAD = msgspec.json.Decoder(RatedHead)


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
    content = value or b""
    try:
        batch = _EVENTS_OF.decode(content)
    except DECODE_ERRORS as error:
        raise UnknownFormat(f"{place} is not a record of dedup: {error}") from error
    if may_be_finer(content):  # of another producer's events: the gateway's are not
        events = cut_each(batch.events, decode_unique(content, place).events)
        batch = msgspec.structs.replace(batch, events=events)
    return batch


def decode_rated(value: bytes | None, place: str) -> RatedBatch:
    """Read a usage.rated record of any format there ever was; `place` (topic, partition, offset)
    goes into UnknownFormat."""
    content = value or b""
    try:
        try:
            batch = _RATED.decode(content)
        except msgspec.ValidationError:
            if _RATED_HEAD.decode(content).format != 1:
                raise
            return _as_today(_RATED_1.decode(content))
    except DECODE_ERRORS as error:
        raise UnknownFormat(f"{place} is not a record of rating: {error}") from error
    if batch.format != RATED_FORMAT:
        raise _newer(batch, place)
    return batch


def decode_rated_head(value: bytes | None, place: str) -> RatedHead:
    """As decode_rated, for those who ask about ranges only: the rest is not looked at."""
    try:
        head = _RATED_HEAD.decode(value or b"")
    except DECODE_ERRORS as error:
        raise UnknownFormat(f"{place} is not a record of rating: {error}") from error
    if head.format not in {1, RATED_FORMAT}:
        raise _newer(head, place)
    return head


def _newer(head: RatedHead, place: str) -> UnknownFormat:
    return UnknownFormat(
        f"{place} is not a record of rating: it has format {head.format}, and formats 1 to"
        f" {RATED_FORMAT} are known"
    )


def _as_today(old: RatedBatch1) -> RatedBatch:
    """A record of format 1. It does not say how a metric aggregates, and need not: whatever part of
    an aggregate it has is merged."""
    tallies: dict[UUID, list[RatedTally]] = {}
    for part in old.aggregates:
        tallies.setdefault(part.metric_id, []).append(_tally(part))
    return RatedBatch(
        **{name: getattr(old, name) for name in RatedHead.__struct_fields__},
        metrics=[RatedMetric(metric_id, own) for metric_id, own in tallies.items()],
        rejections=old.rejections,
        conflicting=old.conflicting,
    )


def _tally(part: RatedAggregate1) -> RatedTally:
    return RatedTally(
        group=part.group,
        hour=part.hour,
        references=[part.reference],
        counts=[part.count],
        totals=[part.total],
        peaks=[] if part.peak is None else [part.peak],
        latest_at=[] if part.latest_at is None else [part.latest_at],
        latest_offsets=[] if part.latest_offset is None else [part.latest_offset],
        latest=[] if part.latest is None else [part.latest],
        distinct=[part.distinct] if part.distinct else [],
    )


def instant_of(milliseconds: int) -> datetime:
    """A Kafka timestamp as an aware UTC datetime, exactly."""
    seconds, rest = divmod(milliseconds, 1000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1000)
