"""Rating of one usage.unique record at a time. Resumes from usage.rated, its output.

Order of effects: 1. trim what was rated before; 2. take the catalog as it is now; 3. fold;
4. append to usage.rated; 5. move on. Wherever the caller starts reading, the step checks the chain
itself and reads what is missing, so nothing depends on committed offsets.
"""

import logging
from dataclasses import dataclass

import msgspec

from services.domain.aggregate import Aggregate, AggregateKey
from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken, Gap, Range, Repeat, link
from services.domain.rating import Rated, rate
from services.domain.rejection import Rejection
from services.rating.catalog import CatalogSource
from services.runtime.ends import last_rated
from services.runtime.failpoint import reach
from services.runtime.log import RATED, UNIQUE, Log, Record
from services.runtime.records import (
    FORMAT_VERSION,
    RatedAggregate,
    RatedBatch,
    RatedRejection,
    UniqueEvents,
    decode_unique,
    decode_unique_events,
    encode,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Partition:
    next_raw: int | None  # None until the chain begins
    next_source: int  # where to go on in usage.unique
    halted: bool = False


class RatingStep:
    """Turns records of usage.unique into records of usage.rated."""

    def __init__(self, log: Log, catalogs: CatalogSource) -> None:
        self._log = log
        self._catalogs = catalogs
        self._catalog: Catalog | None = None
        self._partitions: dict[int, _Partition] = {}

    async def open(self, partition: int) -> int:
        """Take a partition over: the checkpoint is in the last record of usage.rated. Returns the
        offset of usage.unique to read from."""
        last = await last_rated(self._log, partition)
        if last is None:
            state = _Partition(None, 0)
        else:
            state = _Partition(last.last + 1, last.source_offset + 1)
        self._partitions[partition] = state
        return state.next_source

    async def close(self, partition: int) -> None:
        """Give a partition up."""
        self._partitions.pop(partition, None)

    async def process(self, record: Record) -> None:
        """Rate one record. A gap is first read up from the checkpoint; when it stays, the
        partition halts loudly and the others go on."""
        state = self._partitions.get(record.partition)
        if state is None or state.halted:
            return
        try:
            await self._catch_up(state, record)
            await self._rate(state, record)
        except ChainBroken as broken:
            state.halted = True
            logger.error("%s", broken)

    async def _catch_up(self, state: _Partition, record: Record) -> None:
        while state.next_source < record.offset:
            missed = await self._log.read(UNIQUE, record.partition, state.next_source)
            if not missed:
                return
            for earlier in missed:
                if earlier.offset < record.offset:
                    await self._rate(state, earlier)
            state.next_source = max(state.next_source, missed[-1].offset + 1)

    async def _rate(self, state: _Partition, record: Record) -> None:
        place = f"{UNIQUE}[{record.partition}]@{record.offset}"
        batch = decode_unique_events(record.value, place)
        if state.next_raw is None and record.offset != 0:
            raise ChainBroken(UNIQUE, record.partition, 0, batch.first)
        step = link(state.next_raw, Range(batch.first, batch.last))
        if isinstance(step, Gap):
            raise ChainBroken(UNIQUE, record.partition, step.expected, step.found)
        if not isinstance(step, Repeat):
            self._catalog = await self._catalogs.current(self._catalog)
            rated = _rated_batch(batch, step.range, record, self._catalog)
            reach("before_send")
            await self._log.append(RATED, record.partition, encode(rated))
            reach("after_send")
            state.next_raw = step.range.last + 1
        state.next_source = record.offset + 1


def _rated_batch(batch: UniqueEvents, fresh: Range, record: Record, catalog: Catalog) -> RatedBatch:
    """Fold the fresh part of a record; every raw offset in it gets exactly one fate."""
    trim = fresh.first - batch.first
    offsets = [batch.first + offset for offset in batch.offsets]
    events = [
        (offset, event)
        for offset, event in zip(offsets, batch.events, strict=True)
        if offset >= fresh.first
    ]
    rated = rate(batch.partition, events, catalog)
    assert rated.counted + rated.rejected == len(events)
    malformed = [rejection for rejection in batch.rejected if rejection.offset >= trim]
    rejections = [
        RatedRejection(
            offset=batch.first + rejection.offset,
            reason=rejection.reason,
            detail=rejection.detail,
            metric_id=None,
            key=rejection.key,
            value=rejection.value,
            ingested_at_ms=rejection.ingested_at_ms,
        )
        for rejection in malformed
    ]
    rejections += _refused(batch, rated, record)
    return RatedBatch(
        format=FORMAT_VERSION,
        partition=batch.partition,
        first=fresh.first,
        last=fresh.last,
        source_offset=record.offset,
        ingested_to_ms=batch.ingested_to_ms,
        catalog_version=catalog.version,
        counted=rated.counted,
        duplicates=fresh.size - len(events) - len(malformed),
        conflicts=sum(offset >= trim for offset in batch.conflicts),
        rejected=rated.rejected + len(malformed),
        unmatched=rated.unmatched,
        aggregates=[_wire(key, aggregate) for key, aggregate in rated.aggregates.items()],
        rejections=rejections,
    )


def _refused(batch: UniqueEvents, rated: Rated, record: Record) -> list[RatedRejection]:
    """Rejections by a metric, with the event's own bytes from the record."""
    if not rated.rejections:
        return []
    raw = decode_unique(record.value, UNIQUE)
    events: dict[int, msgspec.Raw] = {
        raw.first + offset: event for offset, event in zip(raw.offsets, raw.events, strict=True)
    }
    keys = {
        batch.first + offset: event.transaction_id.encode()
        for offset, event in zip(batch.offsets, batch.events, strict=True)
    }

    def refusal(rejection: Rejection) -> RatedRejection:
        return RatedRejection(
            offset=rejection.offset,
            reason=rejection.reason.value,
            detail=rejection.detail,
            metric_id=rejection.metric_id,
            key=keys[rejection.offset],
            value=bytes(events[rejection.offset]),
            ingested_at_ms=batch.ingested_to_ms,
        )

    return [refusal(rejection) for rejection in rated.rejections]


def _wire(key: AggregateKey, aggregate: Aggregate) -> RatedAggregate:
    latest = aggregate.latest
    return RatedAggregate(
        reference=key.reference,
        metric_id=key.metric_id,
        group=list(key.group),
        hour=key.hour,
        count=aggregate.count,
        total=aggregate.total,
        peak=aggregate.peak,
        latest_at=None if latest is None else latest.occurred_at,
        latest_offset=None if latest is None else latest.offset,
        latest=None if latest is None else latest.value,
        distinct=sorted(aggregate.distinct),
    )
