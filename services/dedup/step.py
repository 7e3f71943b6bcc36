"""Dedup of one partition's records: check, judge, append. Resumes from usage.unique, its output.

Order of effects for a range: 1. claim in the index; 2. append to usage.unique; 3. move on. A crash
between 1 and 2 claims the same offsets again, which the index answers with the same verdicts.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from services.dedup.index import Behind, Claim, SeenIndex
from services.dedup.restore import restore
from services.domain.chain import ChainBroken, Range
from services.domain.dedup import REMEMBERED_DAYS, Verdict, digest_of, fingerprint_of
from services.domain.event import EVENT_BYTES_MAX
from services.domain.partition import partition_of
from services.domain.rejection import Reason
from services.runtime.ends import last_unique
from services.runtime.events import Fault, WireEvent, check_event
from services.runtime.failpoint import reach
from services.runtime.log import RAW, UNIQUE, Log, Record
from services.runtime.records import (
    FORMAT_VERSION,
    RejectedRecord,
    UniqueBatch,
    encode,
)

# One Redis call and one Kafka record a range: large enough that their cost vanishes.
RANGE_EVENTS_MAX = 1_000
# Below the 4 MiB of a usage.unique record, base64 of a rejected 1 MiB record included.
RANGE_BYTES_MAX = 1_000_000
_HOUR_MS = 60 * 60 * 1000
_REMEMBERED_MS = REMEMBERED_DAYS * 24 * _HOUR_MS
_JSON_SPACE = b" \t\r\n"


@dataclass(slots=True)
class _Partition:
    chain_start: int
    next_offset: int
    # The window's start moves by whole hours of the log's own time, so it is looked up rarely
    # and two workers judge alike.
    window_hour: int = -1
    oldest_offset: int = 0


class DedupStep:
    """See `services.runtime.worker.Step`."""

    def __init__(self, log: Log, index: SeenIndex, partition_count: int) -> None:
        self._log = log
        self._index = index
        self._partition_count = partition_count
        self._partitions: dict[int, _Partition] = {}

    async def open(self, partition: int) -> int:
        """Resume after the last range of usage.unique; the first start begins with the log."""
        start, end = await self._log.bounds(RAW, partition)
        last = await last_unique(self._log, partition)
        if last is None:
            chain_start = next_offset = start
        else:
            chain_start, next_offset = -1, last.last + 1
            if next_offset < start:
                raise ChainBroken(RAW, partition, next_offset, start)
            if next_offset > end:
                raise ChainBroken(RAW, partition, next_offset, end)
        self._partitions[partition] = _Partition(chain_start, next_offset)
        return next_offset

    async def close(self, partition: int) -> None:
        """See Step."""
        self._partitions.pop(partition, None)

    async def process(self, records: Mapping[int, Sequence[Record]]) -> list[ChainBroken]:
        """See Step. Partitions go side by side, the ranges of one in order."""
        results = await asyncio.gather(
            *(self._process(partition, batch) for partition, batch in records.items())
        )
        return [broken for broken in results if broken is not None]

    async def _process(self, partition: int, records: Sequence[Record]) -> ChainBroken | None:
        state = self._partitions.get(partition)
        if state is None:
            return None
        fresh = [record for record in records if record.offset >= state.next_offset]
        for batch in _ranges(fresh):
            found = batch[0].offset
            if found != state.next_offset or batch[-1].offset - found + 1 != len(batch):
                return ChainBroken(RAW, partition, state.next_offset, found)
            await self._take(partition, state, batch)
        return None

    async def _take(self, partition: int, state: _Partition, records: Sequence[Record]) -> None:
        await self._move_window(partition, state, records[0].timestamp_ms)
        taken = Range(records[0].offset, records[-1].offset)
        claims: list[Claim] = []
        contents: list[bytes] = []
        rejected: list[RejectedRecord] = []
        for record in records:
            content = (record.value or b"").strip(_JSON_SPACE)
            event = self._event_of(record, content)
            if isinstance(event, WireEvent):
                digest = digest_of(event.transaction_id)
                claims.append(Claim(digest, record.offset, fingerprint_of(content)))
                contents.append(content)
            else:
                rejected.append(_rejected(record, taken.first, *event))
        verdicts = await self._judge(partition, state, taken, claims)
        reach("after_claim")
        batch = UniqueBatch(
            format=FORMAT_VERSION,
            partition=partition,
            first=taken.first,
            last=taken.last,
            ingested_from_ms=records[0].timestamp_ms,
            ingested_to_ms=records[-1].timestamp_ms,
            offsets=_offsets(taken, claims, verdicts, Verdict.UNIQUE),
            events=[
                msgspec.Raw(content)
                for content, verdict in zip(contents, verdicts, strict=True)
                if verdict is Verdict.UNIQUE
            ],
            conflicts=_offsets(taken, claims, verdicts, Verdict.CONFLICT),
            rejected=rejected,
        )
        reach("before_send")
        await self._log.append(UNIQUE, partition, encode(batch))
        reach("after_send")
        state.next_offset = taken.last + 1

    async def _judge(
        self, partition: int, state: _Partition, taken: Range, claims: Sequence[Claim]
    ) -> list[Verdict]:
        for _ in range(2):
            answer = await self._index.claim(
                partition,
                taken,
                claims,
                chain_start=state.chain_start,
                oldest_offset=state.oldest_offset,
            )
            if not isinstance(answer, Behind):
                return answer
            # Nothing of ours is in flight: every append is awaited before the next claim.
            await restore(self._log, self._index, partition, answer.mark, state.oldest_offset)
        raise RuntimeError(
            f"the index of partition {partition} lost its mark while it was being restored to"
            f" {taken.first - 1}; is something else deleting keys in this Redis?"
        )

    async def _move_window(self, partition: int, state: _Partition, timestamp_ms: int) -> None:
        hour = timestamp_ms // _HOUR_MS
        if hour > state.window_hour:
            window_start_ms = hour * _HOUR_MS - _REMEMBERED_MS
            state.oldest_offset = await self._log.offset_at(RAW, partition, window_start_ms)
            state.window_hour = hour

    def _event_of(self, record: Record, content: bytes) -> WireEvent | tuple[Reason, str]:
        if len(content) > EVENT_BYTES_MAX:
            return Reason.TOO_LARGE, f"the record exceeds {EVENT_BYTES_MAX} bytes"
        event = check_event(content)
        if isinstance(event, Fault):
            reason = Reason.NOT_AN_EVENT if event.field else Reason.NOT_JSON
            return reason, f"{event.field or 'the record'} {event.reason}"
        if record.key != event.transaction_id.encode():
            return Reason.WRONG_KEY, "the record's key is not its transaction_id"
        own = partition_of(event.transaction_id, self._partition_count)
        if own != record.partition:
            detail = f"transaction_id {event.transaction_id!r} belongs to partition {own}"
            return Reason.WRONG_PARTITION, detail
        return event


def _ranges(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Cut records into ranges by count, by bytes and at the hours of the log's time."""
    start = size = 0
    for index, record in enumerate(records):
        weight = len(record.value or b"") + len(record.key or b"")
        full = index - start >= RANGE_EVENTS_MAX or size + weight > RANGE_BYTES_MAX
        hour = record.timestamp_ms // _HOUR_MS
        if index > start and (full or hour != records[start].timestamp_ms // _HOUR_MS):
            yield records[start:index]
            start, size = index, 0
        size += weight
    if start < len(records):
        yield records[start:]


def _offsets(
    taken: Range, claims: Sequence[Claim], verdicts: Sequence[Verdict], wanted: Verdict
) -> list[int]:
    return [
        claim.offset - taken.first
        for claim, verdict in zip(claims, verdicts, strict=True)
        if verdict is wanted
    ]


def _rejected(record: Record, first: int, reason: Reason, detail: str) -> RejectedRecord:
    return RejectedRecord(
        offset=record.offset - first,
        reason=reason.value,
        detail=detail,
        key=record.key,
        value=record.value,
        ingested_at_ms=record.timestamp_ms,
    )
