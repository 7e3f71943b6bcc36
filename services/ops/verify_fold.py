"""Folds the log with the oracle up to the projector's positions, partition by partition: events are
read, folded and forgotten. From usage.raw where it reaches back to the chain's beginning, so that
dedup is checked too; else from usage.unique, taking dedup's verdicts as they are.
"""

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field, replace
from uuid import UUID

from services.domain.conservation import Projected
from services.domain.meter import BillableMetric
from services.domain.reference.fold import Fate, PartitionFold, RawRecord, Totals
from services.domain.reference.usage import Usage
from services.domain.rejection import Reason
from services.runtime.log import RATED, RAW, UNIQUE, Log, OffsetGone, Record
from services.runtime.metric_rows import CatalogHistory
from services.runtime.records import (
    RatedHead,
    UniqueBatch,
    UnknownFormat,
    decode_rated_head,
    decode_unique,
)

NO_METRIC = UUID(int=0)
# Whether a record is no JSON or no event depends on where a parser stops, so they count as one.
NO_EVENT = f"{Reason.NOT_JSON.value} or {Reason.NOT_AN_EVENT.value}"

_TO_DO = {
    RAW: "look again, it is then read from usage.unique; keep usage.raw longer than a look takes",
    UNIQUE: "restore the topic from a copy; without it the past cannot be counted again",
    RATED: "restore the topic from a copy; which catalog rated what came before is gone with it",
}

# (partition, metric id or NO_METRIC, reason) -> how many
Refusals = Counter[tuple[int, UUID, str]]


class CannotFold(Exception):
    """The log does not hold what was projected, so nothing can be compared; says what is gone."""


@dataclass(frozen=True, slots=True)
class Older:
    """Ranges that were counted live under an older catalog than their generation's."""

    partition: int
    first: int  # raw offset, inclusive
    last: int  # raw offset, inclusive
    catalog_version: int


@dataclass(slots=True)
class Folded:
    """What the log says, all partitions together."""

    usage: Usage = field(default_factory=dict)
    totals: dict[int, Totals] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Counter)
    # (partition, raw offset) of a conflict -> raw offset of the sighting that it contradicts
    conflicts: dict[tuple[int, int], int] = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)  # partition -> what was folded
    older: list[Older] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Catalogs:
    """Which metrics were in force in a generation: `floor` is its own version of the catalog.
    `promoted_ms`: since when it is live, milliseconds since the epoch; None when it always was."""

    history: CatalogHistory
    floor: int
    promoted_ms: int | None = None


class _Segments:
    """The metrics in force by raw offset, of one partition."""

    def __init__(self) -> None:
        self._lasts: list[int] = []  # inclusive
        self._metrics: list[tuple[BillableMetric, ...]] = []

    def add(self, last: int, metrics: tuple[BillableMetric, ...]) -> None:
        """Up to `last`, inclusive."""
        if self._metrics and self._metrics[-1] is metrics:
            self._lasts[-1] = last
        else:
            self._lasts.append(last)
            self._metrics.append(metrics)

    def at(self, offset: int) -> tuple[BillableMetric, ...]:
        """In force at a raw offset."""
        return self._metrics[bisect_left(self._lasts, offset)]


async def fold_partition(
    log: Log,
    partition: int,
    projected: Projected,
    catalogs: Catalogs,
    *,
    partitions: int,
    into: Folded,
) -> None:
    """Fold one partition into `into`; raises CannotFold, also for records that are gone or that
    nobody can read, and what the log's adapter raises."""
    if partition >= partitions:
        raise CannotFold(
            f"the database has a position for partition {partition}, but there are {partitions}"
            " partitions: set TOLLGATE_PARTITIONS to the number with which the topics were made"
        )
    try:
        segments = await _segments(log, partition, projected, catalogs, into)
        fold = PartitionFold(partition, partitions, segments.at, into.usage)
        await _fold_partition(log, fold, projected, into)
    except OffsetGone as gone:
        raise CannotFold(f"{gone}: {_TO_DO[gone.topic]}") from gone
    except UnknownFormat as foreign:
        raise CannotFold(
            f"{foreign}: the topics may be mixed up, or a newer Tollgate has written it"
        ) from foreign


async def _fold_partition(
    log: Log, fold: PartitionFold, projected: Projected, into: Folded
) -> None:
    partition = fold.partition
    into.totals[partition] = fold.totals
    start, _ = await log.bounds(RAW, partition)
    if start <= projected.first_raw:
        into.sources[partition] = f"{RAW} from {projected.first_raw}, dedup checked"
        await _fold_raw(log, fold, projected, into)
    else:
        into.sources[partition] = (
            f"{UNIQUE}, dedup taken as it was: {RAW} begins at {start}, after the chain, which"
            f" begins at {projected.first_raw}"
        )
        await _fold_unique(log, fold, projected, into)


async def _segments(
    log: Log, partition: int, projected: Projected, catalogs: Catalogs, into: Folded
) -> _Segments:
    """Each range that was projected names the version of the catalog that rated it."""
    segments = _Segments()
    next_raw, offset = projected.first_raw, 0
    while offset < projected.next_rated:
        records = await log.read(RATED, partition, offset)
        if not records:
            raise CannotFold(
                f"{RATED}[{partition}] ends at {offset}, the database has applied it up to"
                f" {projected.next_rated}"
            )
        for record in records[: projected.next_rated - offset]:
            rated = decode_rated_head(record.value, f"{RATED}[{partition}]@{record.offset}")
            if rated.last >= next_raw:  # else a repeat
                segments.add(rated.last, _in_force(rated, catalogs))
                if _counted_late(rated, record, catalogs):
                    _note_older(into, rated, next_raw)
                next_raw = rated.last + 1
        offset = records[-1].offset + 1
    if next_raw != projected.next_raw:
        raise CannotFold(
            f"{RATED}[{partition}] up to offset {projected.next_rated} ends at raw offset"
            f" {next_raw}, the database at {projected.next_raw}"
        )
    return segments


def _in_force(rated: RatedHead, catalogs: Catalogs) -> tuple[BillableMetric, ...]:
    known = catalogs.history.version
    if rated.catalog_version > known:
        raise CannotFold(
            f"{RATED}[{rated.partition}] has raw offset {rated.last} under catalog version"
            f" {rated.catalog_version}, the database knows {known}: one of the two is of another"
            " installation or an older copy; bring the right two together"
        )
    return catalogs.history.in_force(rated.catalog_version, catalogs.floor).metrics


def _counted_late(rated: RatedHead, record: Record, catalogs: Catalogs) -> bool:
    """Whether a range of an older catalog came after the generation took over: a rater that slept
    through the promotion. What came before it, the replay counted under the newer catalog."""
    older = rated.catalog_version < catalogs.floor
    since = catalogs.promoted_ms
    return older and since is not None and record.timestamp_ms >= since


def _note_older(into: Folded, rated: RatedHead, first: int) -> None:
    """From `first`, the rest being a repeat; neighbours are one."""
    found = Older(rated.partition, first, rated.last, rated.catalog_version)
    if into.older:
        joined = replace(into.older[-1], last=found.last)
        if joined == replace(found, first=joined.first) and into.older[-1].last + 1 == first:
            into.older[-1] = joined
            return
    into.older.append(found)


async def _fold_raw(log: Log, fold: PartitionFold, projected: Projected, into: Folded) -> None:
    offset = projected.first_raw
    while offset < projected.next_raw:
        records = await log.read(RAW, fold.partition, offset)
        if not records or records[0].offset != offset:
            raise CannotFold(f"{RAW}[{fold.partition}] has no record at raw offset {offset}")
        for record in records[: projected.next_raw - offset]:
            if record.offset != offset:
                break  # the next read says so
            raw = RawRecord(record.offset, record.timestamp_ms, record.key, record.value)
            _note(into, (fold.partition, offset), fold.take(raw))
            offset += 1


async def _fold_unique(log: Log, fold: PartitionFold, projected: Projected, into: Folded) -> None:
    next_raw, offset = projected.first_raw, 0
    while next_raw < projected.next_raw:
        records = await log.read(UNIQUE, fold.partition, offset)
        if not records or records[0].offset != offset:
            raise CannotFold(f"{UNIQUE}[{fold.partition}] has no record at offset {offset}")
        for record in records:
            place = f"{UNIQUE}[{fold.partition}]@{record.offset}"
            batch = decode_unique(record.value, place)
            if batch.first > next_raw:
                raise CannotFold(f"{place} begins at {batch.first}, {next_raw} is expected")
            last = min(batch.last, projected.next_raw - 1)
            if last >= next_raw:
                _fold_batch(fold, batch, (next_raw, last), into)
                next_raw = last + 1
        offset = records[-1].offset + 1


def _fold_batch(
    fold: PartitionFold, batch: UniqueBatch, wanted: tuple[int, int], into: Folded
) -> None:
    """The part of a batch within [first, last], both inclusive, with the fates that dedup gave."""
    first, last = wanted
    events = 0
    for relative, content in zip(batch.offsets, batch.events, strict=True):
        if first <= batch.first + relative <= last:
            events += 1
            place = (fold.partition, batch.first + relative)
            _note(into, place, fold.take_unique(place[1], bytes(content)))
    rejected = [r for r in batch.rejected if first <= batch.first + r.offset <= last]
    for rejection in rejected:
        fate = Fate("rejected", reasons=((None, Reason(rejection.reason)),))
        fold.totals.add(fate)
        _note(into, (fold.partition, batch.first + rejection.offset), fate)
    conflicts = [c for c in batch.conflicts if first <= batch.first + c.offset <= last]
    for conflict in conflicts:
        into.conflicts[fold.partition, batch.first + conflict.offset] = conflict.first_offset
    fold.totals.conflicts += len(conflicts)
    fold.totals.duplicates += last - first + 1 - events - len(rejected)


def _note(into: Folded, place: tuple[int, int], fate: Fate) -> None:
    for metric_id, reason in fate.reasons:
        into.refusals[place[0], metric_id or NO_METRIC, text_of_reason(reason.value)] += 1
    if fate.first is not None:
        into.conflicts[place] = fate.first


def text_of_reason(reason: str) -> str:
    """The two that are told apart by where a parser stops, as one."""
    return NO_EVENT if reason in (Reason.NOT_JSON, Reason.NOT_AN_EVENT) else reason
