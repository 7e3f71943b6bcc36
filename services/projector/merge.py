"""Merging ranges of usage.rated into a flush: what the projector and a replay do alike. Pure; never
applies anything.
"""

from decimal import Decimal

from services.domain.aggregate import Latest
from services.domain.chain import ChainBroken, Gap, Range, Repeat, Unit, link
from services.domain.tally import Tally
from services.projector.projection import Advance, Flush, Position
from services.runtime.log import RATED
from services.runtime.records import RatedBatch, RatedTally, instant_of, whole_rejections


def merge_range(
    flush: Flush, position: Position | None, next_raw: int | None, batch: RatedBatch, offset: int
) -> int | None:
    """Merge one record, at `offset` of usage.rated, into `flush`; a repeat changes nothing.

    `position`: where the partition stood before the flush; `next_raw`: where it stands with it.
    Returns the new `next_raw`; raises ChainBroken for a gap.
    """
    if next_raw is None and offset != 0:
        raise ChainBroken(RATED, batch.partition, 0, offset, unit=Unit.OFFSET)
    arrived = Range(batch.first, batch.last)
    step = link(next_raw, arrived)
    if isinstance(step, Repeat):
        return next_raw
    if isinstance(step, Gap):
        raise ChainBroken(RATED, batch.partition, step.expected, step.found)
    if step.range != arrived:
        # Two raters cut the same prefix of usage.unique at the same offsets (DESIGN section 2), so
        # a range is new as a whole or not at all, unless usage.unique lost what one of them read.
        raise ChainBroken(RATED, batch.partition, step.range.first, batch.first, made_anew=True)
    _take(flush, position, batch, offset)
    return batch.last + 1


def _take(flush: Flush, position: Position | None, batch: RatedBatch, offset: int) -> None:
    advance = flush.advances.get(batch.partition)
    if advance is None:
        advance = flush.advances[batch.partition] = Advance(
            expected=position,
            first_raw=batch.first,
            next_raw=batch.first,
            next_rated=offset,
            ingested_to=instant_of(batch.ingested_to_ms),
            catalog_version=batch.catalog_version,
        )
    advance.next_raw = batch.last + 1
    advance.next_rated = offset + 1
    advance.ingested_to = instant_of(batch.ingested_to_ms)
    advance.catalog_version = batch.catalog_version
    advance.counted += batch.counted
    advance.duplicates += batch.duplicates
    advance.conflicts += batch.conflicts
    advance.rejected += batch.rejected
    advance.unmatched += batch.unmatched
    flush.rejections += [
        (batch.partition, batch.catalog_version, rejection) for rejection in whole_rejections(batch)
    ]
    flush.conflicts += [(batch.partition, conflict) for conflict in batch.conflicting]
    for metric in batch.metrics:
        for part in metric.tallies:
            key = (metric.metric_id, tuple(part.group), part.hour)
            tally = flush.tallies.get(key)
            if tally is None:
                tally = flush.tallies[key] = Tally()
            _merge(tally, batch.partition, part)


def _merge(tally: Tally, partition: int, part: RatedTally) -> None:
    tally.add_counts(part.references, part.counts)
    if part.totals:
        tally.add_totals(part.references, part.totals)
    if part.peaks:
        tally.add_peaks(part.references, part.peaks)
    if part.latest:
        places = zip(part.latest_at, part.latest_offsets, part.latest, strict=True)
        tally.add_latest(
            part.references,
            [Latest(at, partition, offset, Decimal(value)) for at, offset, value in places],
        )
    if part.distinct:
        tally.add_distinct(part.references, part.distinct)
