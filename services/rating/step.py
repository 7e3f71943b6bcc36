"""Rating of one usage.unique record at a time. Resumes from usage.rated, its output.

Order of effects: 1. trim what was rated before; 2. take the catalog as it is now; 3. fold;
4. append to usage.rated; 5. move on. Wherever the caller starts reading, the step checks the chain
itself and reads what is missing, so nothing depends on committed offsets.
"""

import asyncio
import logging
from dataclasses import dataclass, field

from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken, Gap, Range, Repeat, Unit, check_position, link
from services.rating.catalog import CatalogSource
from services.rating.fold import rated_batch
from services.runtime.ends import check_unwritten, last_rated
from services.runtime.failpoint import reach
from services.runtime.log import RATED, UNIQUE, Log, OffsetGone, Record, RecordTooLarge
from services.runtime.records import RatedBatch, decode_unique, decode_unique_events, encode

logger = logging.getLogger(__name__)


class RangeTooLarge(Exception):
    """The catalog makes more of a range than a record of usage.rated can hold."""

    def __init__(self, record: RecordTooLarge, rated: RatedBatch) -> None:
        """`rated`: what could not be written."""
        metrics = {metric.metric_id for metric in rated.metrics}
        aggregates = sum(len(t.references) for metric in rated.metrics for t in metric.tallies)
        metrics |= {refused.metric_id for refused in rated.rejections if refused.metric_id}
        super().__init__(
            f"{record}. It is raw offsets {rated.first} to {rated.last}, which {len(metrics)}"
            f" metrics of catalog version {rated.catalog_version} turn into"
            f" {aggregates} aggregates and {len(rated.rejections)} rejections. Nothing"
            f" of partition {record.partition} is rated from there on, and nothing is lost: archive"
            " metrics that count these events, those first whose group keys or UNIQUE values hardly"
            " repeat, and restart rating; or, if the topic takes less than schemas/topics.toml"
            " says, run `tollgate init`, and restart rating."
        )


# These stop their partition; the others go on.
_STOPS = (ChainBroken, RangeTooLarge)


@dataclass(slots=True)
class _Partition:
    next_raw: int | None  # None until the chain begins
    next_source: int  # where to go on in usage.unique; never moves back
    # Last raw offset of the record before next_source, and its log-append time in milliseconds:
    # offsets alone may come again in a topic that was made anew.
    source: tuple[int, int]
    newest: int  # offset of the record that came last, to see when the reader goes back
    looked_at: int = -1  # next_source at the last look
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class RatingStep:
    """Turns records of usage.unique into records of usage.rated."""

    def __init__(self, log: Log, catalogs: CatalogSource) -> None:
        self._log = log
        self._catalogs = catalogs
        self._catalog: Catalog | None = None
        self._partitions: dict[int, _Partition] = {}

    async def open(self, partition: int) -> int:
        """Take a partition over: the checkpoint is in the last record of usage.rated. Returns the
        offset of usage.unique to read from. Raises ChainBroken when it cannot be read on from
        there, or the checkpoint is gone; until it is opened again, nothing of it is rated."""
        self._partitions.pop(partition, None)
        last = await last_rated(self._log, partition)
        if last is None:
            await check_unwritten(self._log, RATED, partition)
            state = _Partition(None, 0, (-1, -1), -1)
        else:
            offset = last.source_offset
            source = (last.last, last.ingested_to_ms)
            state = _Partition(last.last + 1, offset + 1, source, offset)
        await self._check_source(partition, state)
        self._partitions[partition] = state
        return state.next_source

    async def _check_source(self, partition: int, state: _Partition) -> int:
        """Whether usage.unique is still the topic that was read up to `next_source`; its end."""
        position, source = state.next_source, state.source  # it may go on meanwhile
        start, end = await self._log.bounds(UNIQUE, partition)
        check_position(UNIQUE, partition, position, (start, end), Unit.OFFSET)
        if position <= start:
            return end  # nothing was read, or what was read is gone and nothing is missing
        records = await self._log.read(UNIQUE, partition, position - 1)
        if not records:  # the end was lost since the bounds were read
            raise ChainBroken(UNIQUE, partition, position, position - 1, unit=Unit.OFFSET)
        before = records[0]
        batch = decode_unique(before.value, _place(before))
        if (batch.last, batch.ingested_to_ms) != source:
            raise ChainBroken(
                UNIQUE, partition, position, before.offset, unit=Unit.OFFSET, made_anew=True
            )
        return end

    async def check_sources(self) -> None:
        """Look whether each open partition of usage.unique is still the topic that was read, and
        halt those that are not: a reader that drops what is behind it would never show it. What
        has waited since the last look is rated: its reader may have stepped over it."""
        for partition, state in list(self._partitions.items()):
            if state.busy.locked():
                continue
            try:
                async with state.busy:
                    end = await self._check_source(partition, state)
                    if state.looked_at == state.next_source < end:
                        logger.warning("%s[%d] was not delivered up to %d", UNIQUE, partition, end)
                        await self._read_up(state, partition, end)
                    state.looked_at = state.next_source
            except _STOPS as broken:
                self._halt(partition, state, broken)

    def _halt(self, partition: int, state: _Partition, broken: Exception) -> None:
        # It may have been opened anew while we looked.
        if self._partitions.get(partition) is state:
            del self._partitions[partition]
            logger.error("%s", broken)

    async def close(self, partition: int) -> None:
        """Give a partition up."""
        self._partitions.pop(partition, None)

    async def process(self, record: Record) -> None:
        """Rate one record; of one partition, in the order of the calls, and of several at once. A
        gap is first read up from the checkpoint; when it stays, or the
        record becomes too large for usage.rated, the partition halts loudly and the others go on.
        """
        state = self._partitions.get(record.partition)
        if state is None:
            return
        try:
            async with state.busy:
                await self._take(state, record)
        except _STOPS as broken:
            self._halt(record.partition, state, broken)

    async def _take(self, state: _Partition, record: Record) -> None:
        went_back = record.offset <= state.newest
        state.newest = record.offset
        if record.offset >= state.next_source:
            await self._read_up(state, record.partition, record.offset)
            await self._rate(state, record)
        elif went_back:
            # Behind us is what was rated, as long as it is the same topic. Faust also goes back to
            # the earliest record by itself when the topic was truncated or made anew, and then what
            # looks like a repeat may be new.
            await self._check_source(record.partition, state)

    async def _read_up(self, state: _Partition, partition: int, end: int) -> None:
        """Rate what stands between the checkpoint and the offset `end`, exclusive."""
        while state.next_source < end:
            try:
                missed = await self._log.read(UNIQUE, partition, state.next_source)
            except OffsetGone as gone:
                raise ChainBroken(
                    UNIQUE, partition, gone.offset, gone.start, unit=Unit.OFFSET
                ) from gone
            earlier = [found for found in missed if found.offset < end]
            if not earlier:
                return  # the chain of raw offsets tells whether anything is missing
            for found in earlier:
                await self._rate(state, found)

    async def _rate(self, state: _Partition, record: Record) -> None:
        batch = decode_unique_events(record.value, _place(record))
        if state.next_raw is None and record.offset != 0:
            raise ChainBroken(UNIQUE, record.partition, 0, record.offset, unit=Unit.OFFSET)
        step = link(state.next_raw, Range(batch.first, batch.last))
        if isinstance(step, Gap):
            raise ChainBroken(UNIQUE, record.partition, step.expected, step.found)
        if not isinstance(step, Repeat):
            catalog = self._catalog = await self._catalogs.current(self._catalog)
            rated = rated_batch(record, batch, step.range, catalog)
            reach("before_send")
            try:
                await self._log.append(RATED, record.partition, encode(rated))
            except RecordTooLarge as error:
                raise RangeTooLarge(error, rated) from error
            reach("after_send")
            state.next_raw = step.range.last + 1
        state.next_source = record.offset + 1
        state.source = (batch.last, batch.ingested_to_ms)


def _place(record: Record) -> str:
    return f"{UNIQUE}[{record.partition}]@{record.offset}"
