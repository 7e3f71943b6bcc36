"""The ranges of the log as a generation counts them: cut where the live pipeline cut them, judged
and rated again with the stages' own code. Reads only.

usage.rated says where a range begins and ends, and under which version of the catalog it was
rated live; nothing else of it is believed.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken, Range, Unit
from services.domain.tally import Tallies
from services.rating.fold import rated_into
from services.replay.generations import Generation
from services.runtime.log import UNIQUE, Log, OffsetGone, Record
from services.runtime.metric_rows import CatalogHistory
from services.runtime.records import RatedBatch, RatedHead, decode_unique_events

ReadHistory = Callable[[], Awaitable[CatalogHistory]]


class Catalogs:
    """The catalog under which a generation counts a range."""

    def __init__(self, generation: Generation, read: ReadHistory) -> None:
        self._floor = generation.catalog_version
        self._read = read
        self._history: CatalogHistory | None = None

    async def for_range(self, rated: RatedHead) -> Catalog:
        """In force for a range of usage.rated; the history is read again when it is too old."""
        history = self._history
        if history is None or history.version < max(rated.catalog_version, self._floor):
            history = self._history = await self._read()
        return history.in_force(rated.catalog_version, self._floor)


class Ranges(Protocol):
    """Where a replay takes its ranges from."""

    async def again(self, rated: RatedHead, into: Tallies) -> RatedBatch:
        """The range of a record of usage.rated, counted again: `into` takes what metrics count, the
        record returned has the rest. Raises ChainBroken when the log no longer reaches back."""
        ...


class UniqueRanges:
    """From usage.unique: dedup's verdicts are taken as they are."""

    def __init__(self, log: Log, catalogs: Catalogs) -> None:
        self._source = Reader(log, UNIQUE)
        self._catalogs = catalogs

    async def again(self, rated: RatedHead, into: Tallies) -> RatedBatch:
        """See Ranges."""
        record = await self._source.at(rated.partition, rated.source_offset)
        place = f"{UNIQUE}[{rated.partition}]@{record.offset}"
        batch = decode_unique_events(record.value, place)
        if batch.first > rated.first or batch.last < rated.last:
            raise ChainBroken(UNIQUE, rated.partition, rated.first, batch.first)
        catalog = await self._catalogs.for_range(rated)
        return rated_into(into, record, batch, Range(rated.first, rated.last), catalog)


class Reader:
    """Records of one topic by offset; what one read brought is kept for the next offsets."""

    def __init__(self, log: Log, topic: str) -> None:
        self._log = log
        self._topic = topic
        self._held: dict[int, list[Record]] = {}

    async def at(self, partition: int, offset: int) -> Record:
        """The record at an offset; raises ChainBroken when there is none."""
        held = self._held.get(partition)
        if not held or not held[0].offset <= offset <= held[-1].offset:
            held = self._held[partition] = await self._read(partition, offset)
        if not held or held[0].offset > offset:
            found = held[0].offset if held else offset
            raise ChainBroken(self._topic, partition, offset, found, unit=Unit.OFFSET)
        return held[offset - held[0].offset]

    async def _read(self, partition: int, offset: int) -> list[Record]:
        try:
            return await self._log.read(self._topic, partition, offset)
        except OffsetGone as gone:
            raise ChainBroken(
                self._topic, partition, offset, gone.start, unit=Unit.OFFSET
            ) from gone
