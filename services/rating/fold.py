"""Folds one usage.unique record into one usage.rated record. Shared by the live stage and replay.

Reads no log, no clock and no database: a record, the part of it that is wanted, and a catalog.
"""

import msgspec

from services.domain.aggregate import Aggregate, AggregateKey
from services.domain.catalog import Catalog
from services.domain.chain import Range
from services.domain.rating import Rated, rate
from services.domain.rejection import Rejection
from services.runtime.log import UNIQUE, Record
from services.runtime.records import (
    FORMAT_VERSION,
    RatedAggregate,
    RatedBatch,
    RatedConflict,
    RatedRejection,
    UniqueEvents,
    decode_unique,
)


def rated_batch(record: Record, batch: UniqueEvents, fresh: Range, catalog: Catalog) -> RatedBatch:
    """Fold the part `fresh` of a usage.unique record; every raw offset in it gets exactly one fate.

    `batch` is `record` decoded. `fresh` lies within its range: what was folded before, or is not
    wanted, is left out exactly. One input has one result, whoever folds it.
    """
    assert batch.first <= fresh.first, f"{fresh} begins before the record's {batch.first}"
    assert fresh.last <= batch.last, f"{fresh} ends after the record's {batch.last}"
    wanted = range(fresh.first - batch.first, fresh.last - batch.first + 1)
    events = [
        (batch.first + offset, event)
        for offset, event in zip(batch.offsets, batch.events, strict=True)
        if offset in wanted
    ]
    rated = rate(batch.partition, events, catalog)
    assert rated.counted + rated.rejected == len(events)
    malformed = [rejection for rejection in batch.rejected if rejection.offset in wanted]
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
    conflicting = [
        RatedConflict(
            offset=batch.first + conflict.offset,
            first_offset=conflict.first_offset,
            transaction_id=conflict.transaction_id,
            ingested_at_ms=conflict.ingested_at_ms,
        )
        for conflict in batch.conflicts
        if conflict.offset in wanted
    ]
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
        conflicts=len(conflicting),
        rejected=rated.rejected + len(malformed),
        unmatched=rated.unmatched,
        aggregates=[_wire(key, aggregate) for key, aggregate in rated.aggregates.items()],
        rejections=rejections,
        conflicting=conflicting,
    )


def _refused(batch: UniqueEvents, rated: Rated, record: Record) -> list[RatedRejection]:
    """Rejections by a metric, with the event's own bytes from the record in the first of each."""
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

    def refusal(rejection: Rejection, *, first: bool) -> RatedRejection:
        return RatedRejection(
            offset=rejection.offset,
            reason=rejection.reason.value,
            detail=rejection.detail,
            metric_id=rejection.metric_id,
            key=keys[rejection.offset] if first else None,
            value=bytes(events[rejection.offset]) if first else None,
            ingested_at_ms=batch.ingested_to_ms,
        )

    before = [None, *(rejection.offset for rejection in rated.rejections)]
    return [
        refusal(rejection, first=rejection.offset != offset)
        for offset, rejection in zip(before, rated.rejections, strict=False)
    ]


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
