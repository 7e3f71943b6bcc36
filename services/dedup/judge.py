"""Judges ranges of one partition: check every record, claim its id, build the usage.unique record.

Shared by the live stage and by a replay that deduplicates afresh with an index of its own. Never
writes the log and never decides where a range begins or ends; the verdict on an event depends on
the log alone, so it is the same however the log is cut into ranges.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from services.dedup.index import Behind, Claims, Judged, SeenIndex
from services.dedup.sweep import Sweep
from services.dedup.window import offset_since
from services.domain.chain import Range
from services.domain.dedup import (
    digest_of,
    fingerprint_of,
    hour_of_log,
    hour_start_ms,
    window_start_ms,
)
from services.domain.event import EVENT_BYTES_MAX
from services.domain.partition import partition_of_key
from services.domain.rejection import Reason
from services.runtime.events import Fault, WireEvent, checked_event
from services.runtime.failpoint import reach
from services.runtime.log import Log, Record
from services.runtime.records import (
    FORMAT_VERSION,
    ConflictRecord,
    RejectedRecord,
    UniqueBatch,
)

# One Redis call and one Kafka record a range: large enough that their cost vanishes.
RANGE_EVENTS_MAX = 1_000
# Below the 4 MiB of a usage.unique record, base64 of a rejected 1 MiB record included.
RANGE_BYTES_MAX = 1_000_000
# Ids are kept in the index for so long after the window has left them: a stage that resumes from an
# old repeat at the end of usage.unique judges an earlier hour again, with the window it had.
_MARGIN_MS = 24 * 60 * 60 * 1000
_JSON_SPACE = b" \t\r\n"


class Restore(Protocol):
    """What to do when the index has forgotten: put its ids back, and so move its mark."""

    async def __call__(self, mark: int | None, oldest_offset: int) -> None:
        """Put back every unique sighting after raw offset `mark`, or all since `oldest_offset`
        when `mark` is None: the index knows nothing of the partition, or what it holds is not to
        be relied on.

        From raw records this takes judging them again from where the chain began: a repeat looks
        like a first sighting to whoever begins after the first one.
        """
        ...


class RangeJudge:
    """Judges the ranges of one partition, one after the other, in the order of the log."""

    def __init__(
        self,
        log: Log,
        index: SeenIndex,
        restore: Restore,
        *,
        partition: int,
        partition_count: int,
        chain_start: int,
        judged_to_ms: int = 0,
    ) -> None:
        """`chain_start`: the raw offset at which an index that knows nothing is no loss, because
        nothing was judged before it; -1 when there is none. `judged_to_ms`: the newest log-append
        time that was judged before, in milliseconds since the epoch: when the log's time runs
        backwards, the window does not."""
        self._log = log
        self._index = index
        self._restore = restore
        self._partition = partition
        self._partition_count = partition_count
        self._chain_start = chain_start
        self._sweep = Sweep(index, partition)
        self._newest_hour = hour_of_log(judged_to_ms)
        self._window_hour = -1  # the hour that these two belong to
        self._oldest_offset = 0  # an id first seen below is forgotten
        self._kept_offset = 0  # what the index must hold begins here, a margin earlier

    async def judge(self, records: Sequence[Record]) -> UniqueBatch:
        """The fates of a range: consecutive raw records, at least one, all within one hour of the
        log's time (see `ranges_of`). Asking again gives the same answer. Raises what the index,
        the log and `restore` raise."""
        await self._move_window(records)
        first = records[0].offset
        events, contents, rejected = self._checked(records)
        claims = Claims(
            [digest_of(event.key or b"") for event in events],
            [event.offset for event in events],
            [fingerprint_of(content) for content in contents],
        )
        judged = await self._verdicts(Range(first, records[-1].offset), claims)
        reach("after_claim")
        await self._sweep.go_on(self._kept_offset)
        offsets = claims.offsets
        if judged.repeats:
            unique = [place for place, at in enumerate(offsets) if at not in judged.repeats]
            offsets = [offsets[place] for place in unique]
            contents = [contents[place] for place in unique]
        return UniqueBatch(
            format=FORMAT_VERSION,
            partition=self._partition,
            first=first,
            last=records[-1].offset,
            ingested_from_ms=records[0].timestamp_ms,
            ingested_to_ms=records[-1].timestamp_ms,
            offsets=[offset - first for offset in offsets],
            events=list(map(msgspec.Raw, contents)),
            conflicts=[
                _conflict(records[offset - first], first, first_offset)
                for offset, first_offset in judged.first_offsets.items()
            ],
            rejected=rejected,
        )

    def _checked(
        self, records: Sequence[Record]
    ) -> tuple[list[Record], list[bytes], list[RejectedRecord]]:
        """The records that are events, what each says, and the others."""
        events: list[Record] = []
        contents: list[bytes] = []
        rejected: list[RejectedRecord] = []
        first, count = records[0].offset, self._partition_count
        for record in records:
            content = (record.value or b"").strip(_JSON_SPACE)
            if len(content) > EVENT_BYTES_MAX:
                detail = f"the record exceeds {EVENT_BYTES_MAX} bytes"
                rejected.append(_rejected(record, first, Reason.TOO_LARGE, detail))
                continue
            event = checked_event(content)
            if type(event) is WireEvent:
                key = event.transaction_id.encode()
                if key == record.key and partition_of_key(key, count) == record.partition:
                    events.append(record)
                    contents.append(content)
                    continue
            rejected.append(_rejected(record, first, *self._fault_of(record, event)))
        return events, contents, rejected

    async def _verdicts(self, taken: Range, claims: Claims) -> Judged:
        for trial in range(3):
            answer = await self._index.claim(
                self._partition,
                taken,
                claims,
                chain_start=self._chain_start,
                oldest_offset=self._oldest_offset,
            )
            if not isinstance(answer, Behind):
                return answer
            if trial < 2:
                # What was put back after the mark was not enough: then everything is.
                await self._restore(None if trial else answer.mark, self._kept_offset)
        raise RuntimeError(
            f"the index of partition {self._partition} lost its mark while it was being restored"
            f" to {taken.first - 1}; is something else deleting keys in this Redis?"
        )

    async def _move_window(self, records: Sequence[Record]) -> None:
        hour = _hour_of(records[0])
        assert hour == _hour_of(records[-1]), "a range crosses an hour of the log's time"
        self._newest_hour = hour = max(hour, self._newest_hour)
        if hour > self._window_hour:
            start_ms = window_start_ms(hour_start_ms(hour))
            self._oldest_offset = await self._offset_since(start_ms)
            self._kept_offset = await self._offset_since(start_ms - _MARGIN_MS)
            self._window_hour = hour

    async def _offset_since(self, since_ms: int) -> int:
        return await offset_since(
            self._log, self._partition, since_ms, chain_start=self._chain_start
        )

    def _fault_of(self, record: Record, event: WireEvent | Fault) -> tuple[Reason, str]:
        if isinstance(event, Fault):
            reason = Reason.NOT_AN_EVENT if event.field else Reason.NOT_JSON
            return reason, f"{event.field or 'the record'} {event.reason}"
        key = event.transaction_id.encode()
        if record.key != key:
            return Reason.WRONG_KEY, "the record's key is not its transaction_id"
        own = partition_of_key(key, self._partition_count)
        detail = f"transaction_id {event.transaction_id!r} belongs to partition {own}"
        return Reason.WRONG_PARTITION, detail


def ranges_of(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut records into ranges by count, by bytes and at the hours of the log's time."""
    start = size = 0
    hour = hour_of_log(records[0].timestamp_ms) if records else 0
    hour_from, hour_to = hour_start_ms(hour), hour_start_ms(hour + 1)
    for index, record in enumerate(records):
        weight = len(record.value or b"") + len(record.key or b"")
        size += weight
        full = index - start >= RANGE_EVENTS_MAX or size > RANGE_BYTES_MAX
        same_hour = hour_from <= record.timestamp_ms < hour_to
        if index > start and (full or not same_hour):
            yield records[start:index]
            start, size = index, weight
        if not same_hour:
            hour = _hour_of(record)
            hour_from, hour_to = hour_start_ms(hour), hour_start_ms(hour + 1)
    if start < len(records):
        yield records[start:]


def _hour_of(record: Record) -> int:
    return hour_of_log(record.timestamp_ms)


def _conflict(record: Record, first: int, first_offset: int) -> ConflictRecord:
    return ConflictRecord(
        offset=record.offset - first,
        first_offset=first_offset,
        transaction_id=(record.key or b"").decode(),
        ingested_at_ms=record.timestamp_ms,
    )


def _rejected(record: Record, first: int, reason: Reason, detail: str) -> RejectedRecord:
    return RejectedRecord(
        offset=record.offset - first,
        reason=reason.value,
        detail=detail,
        key=record.key,
        value=record.value,
        ingested_at_ms=record.timestamp_ms,
    )
