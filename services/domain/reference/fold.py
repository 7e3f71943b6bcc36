"""The oracle's fold of one partition: records of usage.raw in their order, and for each the metrics
that were in force when it was rated, to the fate of every offset and to what was used.

No batching, no index, no checkpoints, no merging of partial results: one record after another.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from services.domain.event import Event
from services.domain.meter import BillableMetric
from services.domain.reference.event_json import (
    BYTES_MAX,
    NotAnEvent,
    content_of,
    read_event,
)
from services.domain.reference.usage import Usage, count
from services.domain.rejection import Reason

HOUR_MS = 3_600_000
# 34 days, by whole hours of the log's own time.
REMEMBERED_HOURS = 34 * 24


class RawRecord(NamedTuple):
    """One record of usage.raw."""

    offset: int
    ingested_at_ms: int
    key: bytes | None
    value: bytes | None


class Fate(NamedTuple):
    """What became of one raw offset. `kind`: counted, duplicate, conflict or rejected;
    `unmatched`: counted, but by no metric; `reasons`: (metric id, reason) of every rejection, with
    None for the metric when the record is no event of ours; `first`: of a conflict, the raw offset
    of the sighting that it contradicts."""

    kind: str
    unmatched: bool = False
    reasons: tuple[tuple[UUID | None, Reason], ...] = ()
    first: int | None = None


# The metrics in force when a raw offset was rated.
MetricsAt = Callable[[int], Sequence[BillableMetric]]


@dataclass(slots=True)
class Totals:
    """Fates of one partition, added up."""

    counted: int = 0  # unmatched included
    duplicates: int = 0  # conflicts included
    conflicts: int = 0
    rejected: int = 0
    unmatched: int = 0
    refusals: int = 0  # rows of rejected events: one a metric that could not take an event

    def add(self, fate: Fate) -> None:
        """One more offset."""
        self.counted += fate.kind == "counted"
        self.duplicates += fate.kind in ("duplicate", "conflict")
        self.conflicts += fate.kind == "conflict"
        self.rejected += fate.kind == "rejected"
        self.unmatched += fate.unmatched
        self.refusals += len(fate.reasons)


@dataclass(slots=True)
class Seen:
    """Every id of one partition with its first sighting, and where each hour of the log began
    that lies within the window: 34 days before the hour that it is."""

    first: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)
    hours: list[tuple[int, int]] = field(default_factory=list)  # (hour, its first offset)

    def tick(self, record: RawRecord) -> None:
        """Take note of the log's own time; it never runs backwards."""
        hour = record.ingested_at_ms // HOUR_MS
        if not self.hours or hour > self.hours[-1][0]:
            self.hours.append((hour, record.offset))
        since = self.hours[-1][0] - REMEMBERED_HOURS
        while self.hours[0][0] < since:
            self.hours.pop(0)

    def verdict(self, event: Event, content: bytes, offset: int) -> Fate | None:
        """That it is a duplicate or a conflict; None for a first sighting."""
        name = sha256(event.transaction_id.encode()).digest()
        fingerprint = sha256(content).digest()
        held = self.first.get(name)
        # What came before the first record of the window is forgotten.
        if held is None or held[0] < self.hours[0][1]:
            self.first[name] = (offset, fingerprint)
            return None
        return Fate("duplicate") if held[1] == fingerprint else Fate("conflict", first=held[0])


@dataclass(slots=True)
class PartitionFold:
    """The fold of one partition; `usage` may be shared by all of them."""

    partition: int
    partition_count: int
    metrics_at: MetricsAt
    usage: Usage
    seen: Seen = field(default_factory=Seen)
    totals: Totals = field(default_factory=Totals)

    def take(self, record: RawRecord) -> Fate:
        """The next record: what becomes of it."""
        fate = self._judge(record)
        self.totals.add(fate)
        return fate

    def take_unique(self, offset: int, content: bytes) -> Fate:
        """An event that is known to be unique: only rate it."""
        event = read_event(content)
        assert isinstance(event, Event), f"raw offset {offset} was passed on but is no event"
        fate = self._rate(offset, event)
        self.totals.add(fate)
        return fate

    def _judge(self, record: RawRecord) -> Fate:
        self.seen.tick(record)
        content = content_of(record.value)
        found = self._event(record, content)
        if isinstance(found, Reason):
            return Fate("rejected", reasons=((None, found),))
        repeat = self.seen.verdict(found, content, record.offset)
        return self._rate(record.offset, found) if repeat is None else repeat

    def _event(self, record: RawRecord, content: bytes) -> Event | Reason:
        if len(content) > BYTES_MAX:
            return Reason.TOO_LARGE
        event = read_event(content)
        if isinstance(event, NotAnEvent):
            return Reason.NOT_AN_EVENT if event.is_json else Reason.NOT_JSON
        name = event.transaction_id.encode()
        if record.key != name:
            return Reason.WRONG_KEY
        if crc32(name) % self.partition_count != self.partition:
            return Reason.WRONG_PARTITION
        return event

    def _rate(self, offset: int, event: Event) -> Fate:
        taken = 0
        refused: list[tuple[UUID | None, Reason]] = []
        for metric in self.metrics_at(offset):
            answer = count(self.usage, metric, event, (self.partition, offset))
            if isinstance(answer, Reason):
                refused.append((metric.id, answer))
            else:
                taken += answer
        if refused and not taken:
            return Fate("rejected", reasons=tuple(refused))
        return Fate("counted", unmatched=not taken, reasons=tuple(refused))


def fold(fold_of: PartitionFold, records: Iterable[RawRecord]) -> Iterator[tuple[int, Fate]]:
    """(raw offset, fate) of every record, as they come."""
    for record in records:
        yield record.offset, fold_of.take(record)
