"""Rating of one usage.unique record at a time. Resumes from usage.rated, its output.

Order of effects: 1. trim what was rated before; 2. take the catalog as it is now; 3. fold;
4. append to usage.rated; 5. move on. Wherever the caller starts reading, the step checks the chain
itself and reads what is missing, so nothing depends on committed offsets.
"""

import logging
from dataclasses import dataclass

from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken, Gap, Range, Repeat, link
from services.rating.catalog import CatalogSource
from services.rating.fold import rated_batch
from services.runtime.ends import last_rated
from services.runtime.failpoint import reach
from services.runtime.log import RATED, UNIQUE, Log, Record
from services.runtime.records import decode_unique_events, encode

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
            rated = rated_batch(record, batch, step.range, self._catalog)
            reach("before_send")
            await self._log.append(RATED, record.partition, encode(rated))
            reach("after_send")
            state.next_raw = step.range.last + 1
        state.next_source = record.offset + 1
