"""Folds one usage.unique record into one usage.rated record. Shared by the live stage and replay.

Reads no log, no clock and no database: a record, the part of it that is wanted, and a catalog.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import compress
from uuid import UUID

import msgspec

from services.domain.catalog import Catalog
from services.domain.chain import Range
from services.domain.number import Number
from services.domain.rating import Rated, rate
from services.domain.rejection import Rejection
from services.domain.tally import Tallies, Tally
from services.runtime.log import UNIQUE, Record
from services.runtime.records import (
    INTEGER_MAX,
    RATED_FORMAT,
    RatedBatch,
    RatedConflict,
    RatedMetric,
    RatedRejection,
    RatedTally,
    UniqueEvents,
    decode_unique,
)


def rated_batch(record: Record, batch: UniqueEvents, fresh: Range, catalog: Catalog) -> RatedBatch:
    """Fold the part `fresh` of a usage.unique record; every raw offset in it gets exactly one fate.

    `batch` is `record` decoded. `fresh` lies within its range: what was folded before, or is not
    wanted, is left out exactly. One input has one result, whoever folds it.
    """
    tallies: Tallies = {}
    rated = rated_into(tallies, record, batch, fresh, catalog)
    return msgspec.structs.replace(rated, metrics=_metrics(tallies))


def rated_into(
    tallies: Tallies, record: Record, batch: UniqueEvents, fresh: Range, catalog: Catalog
) -> RatedBatch:
    """As rated_batch, but what the metrics count is added to `tallies`, and is not in what is
    returned."""
    assert batch.first <= fresh.first, f"{fresh} begins before the record's {batch.first}"
    assert fresh.last <= batch.last, f"{fresh} ends after the record's {batch.last}"
    wanted = range(fresh.first - batch.first, fresh.last - batch.first + 1)
    assert len(batch.offsets) == len(batch.events)
    offsets, events = [batch.first + offset for offset in batch.offsets], batch.events
    if fresh.size < batch.last - batch.first + 1:
        inside = [offset in wanted for offset in batch.offsets]
        offsets, events = list(compress(offsets, inside)), list(compress(events, inside))
    rated = rate(batch.partition, offsets, events, catalog, tallies)
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
        format=RATED_FORMAT,
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
        metrics=[],
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


def _metrics(tallies: Tallies) -> list[RatedMetric]:
    parts: dict[UUID, list[RatedTally]] = {}
    for (metric_id, group, hour), tally in tallies.items():
        parts.setdefault(metric_id, []).append(_wire(group, hour, tally))
    return [RatedMetric(metric_id, own) for metric_id, own in parts.items()]


def _wire(group: Sequence[str | None], hour: int, tally: Tally) -> RatedTally:
    """A metric fills the same columns for each reference."""
    latest = [tally.latest[reference] for reference in tally.counts] if tally.latest else []
    return RatedTally(
        group=list(group),
        hour=hour,
        references=list(tally.counts),
        counts=list(tally.counts.values()),
        totals=_numbers(tally, tally.totals),
        peaks=_numbers(tally, tally.peaks),
        latest_at=[value.occurred_at for value in latest],
        latest_offsets=[value.offset for value in latest],
        latest=[value.value for value in latest],
        distinct=[sorted(tally.distinct[reference]) for reference in tally.counts]
        if tally.distinct
        else [],
    )


def _numbers(tally: Tally, column: Mapping[str, Number]) -> list[Number]:
    if not column:
        return []
    numbers = [column[reference] for reference in tally.counts]
    return [
        number
        if type(number) is Decimal or -INTEGER_MAX < number < INTEGER_MAX
        else Decimal(number)
        for number in numbers
    ]
