"""Each safeguard, switched off: then some seed must fail, and as expected. A safeguard whose
absence nothing notices would be untested, or unneeded.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from services.dedup import index_memory
from services.dedup.index import Behind, Claims, Judged
from services.dedup.index_memory import MemorySeenIndex
from services.dedup.step import DedupStep
from services.domain.catalog import Catalog
from services.domain.chain import ChainBroken, Fresh, Link, Range, link
from services.domain.dedup import Sighting, Verdict, judge
from services.gateway.sink_kafka import KafkaEventSink
from services.projector import merge
from services.projector.projection import Flush
from services.projector.projection_memory import MemoryProjection
from services.rating import step as rating_step
from services.rating.step import RatingStep
from services.replay.build import Build
from services.runtime.consumer_memory import MemoryConsumer
from services.runtime.log import RAW, UNIQUE, AppendFailed, Record
from services.runtime.records import decode_unique
from tests.simulation.profile import Profile, draw_profile
from tests.simulation.servers import SimulatedCatalogs, SimulatedLog
from tests.simulation.simulation import simulate

Records = Mapping[int, Sequence[Record]]
Switch = Callable[[], AbstractContextManager[object]]


def claim_that_does_not_hold_its_offset() -> AbstractContextManager[object]:
    """A redelivery after a crash between claim and append then looks like a duplicate."""

    def judged(first: Sighting | None, sighting: Sighting, oldest_offset: int) -> Verdict:
        if first is not None and first.offset == sighting.offset >= oldest_offset:
            return Verdict.DUPLICATE
        return judge(first, sighting, oldest_offset)

    return patch.object(index_memory, "judge", judged)


def mark_that_is_not_checked() -> AbstractContextManager[object]:
    """An index that lost ids then looks whole."""
    claim = MemorySeenIndex.claim

    async def unchecked(
        self: MemorySeenIndex, partition: int, taken: Range, claims: Claims, **rest: int
    ) -> Judged | Behind:
        rest["chain_start"] = taken.first
        return await claim(self, partition, taken, claims, **rest)

    return patch.object(MemorySeenIndex, "claim", unchecked)


def restore_that_does_not_check_the_mark() -> AbstractContextManager[object]:
    """An index that loses ids again while they are put back then looks whole."""
    restore = MemorySeenIndex.restore

    async def unchecked(
        self: MemorySeenIndex, partition: int, taken: Range, claims: Claims, *, anew: bool
    ) -> Behind | None:
        mark = self.marks.get(partition, -1)
        self.marks[partition] = max(mark, taken.first - 1)
        return await restore(self, partition, taken, claims, anew=True)

    return patch.object(MemorySeenIndex, "restore", unchecked)


def untrimmed(next_offset: int | None, arrived: Range) -> Link:
    """As `link`, but a range that overlaps is taken whole."""
    found = link(next_offset, arrived)
    return Fresh(arrived) if isinstance(found, Fresh) else found


def rating_that_does_not_trim() -> AbstractContextManager[object]:
    """What overlaps is then rated twice; the projector does not take it."""
    return patch.object(rating_step, "link", untrimmed)


@contextmanager
def nobody_trims() -> Iterator[None]:
    """The same, with the projector's check off, too: then events are counted twice."""
    with (
        patch.object(rating_step, "link", untrimmed),
        patch.object(merge, "link", untrimmed),
    ):
        yield


def projection_that_does_not_compare() -> AbstractContextManager[object]:
    """A zombie's flush is then applied on top of the same ranges."""
    apply = MemoryProjection.apply

    async def uncompared(self: MemoryProjection, flush: Flush) -> None:
        for partition, advance in flush.advances.items():
            advance.expected = self.held.get(partition)
        await apply(self, flush)

    return patch.object(MemoryProjection, "apply", uncompared)


def ack_before_the_append() -> AbstractContextManager[object]:
    """The gateway then answers 200 for what may never be written."""
    put = KafkaEventSink.put

    async def hasty(self: KafkaEventSink, events: Sequence[tuple[str, bytes]]) -> None:
        sending = asyncio.ensure_future(put(self, events))
        sending.add_done_callback(lambda done: done.exception())

    return patch.object(KafkaEventSink, "put", hasty)


def stage_that_goes_on_after_a_failed_send() -> AbstractContextManager[object]:
    """The next range is then written behind a hole."""
    append = SimulatedLog.append

    async def careless(self: SimulatedLog, topic: str, partition: int, value: bytes) -> int:
        try:
            return await append(self, topic, partition, value)
        except AppendFailed:
            return -1

    return patch.object(SimulatedLog, "append", careless)


@contextmanager
def dedup_that_resumes_from_committed_offsets() -> Iterator[None]:
    """As a consumer with auto-commit does, which commits what it was given: what was given but not
    written is then skipped."""
    poll, seek, process = MemoryConsumer.poll, MemoryConsumer.seek, DedupStep.process

    async def committing(self: MemoryConsumer, records_max: int) -> Mapping[int, Sequence[Record]]:
        fetched = await poll(self, records_max)
        self.committed.update(self.positions)
        return fetched

    def staying(self: MemoryConsumer, partition: int, offset: int) -> None:
        if self.topic != RAW or partition not in self.committed:
            seek(self, partition, offset)

    async def trusting(self: DedupStep, records: Records) -> list[ChainBroken]:
        for partition, batch in records.items():
            if partition in self._partitions:
                self._partitions[partition].next_offset = batch[0].offset
        return await process(self, records)

    with (
        patch.object(MemoryConsumer, "poll", committing),
        patch.object(MemoryConsumer, "seek", staying),
        patch.object(DedupStep, "process", trusting),
    ):
        yield


def rating_that_resumes_from_committed_offsets() -> AbstractContextManager[object]:
    """Where Faust begins to read is then where rating goes on, whatever lies between."""

    take = RatingStep._take

    async def trusting(self: RatingStep, state: Any, record: Record) -> None:
        if record.offset > state.next_source:
            state.next_raw = decode_unique(record.value, UNIQUE).first
            state.next_source = record.offset
        await take(self, state, record)

    return patch.object(RatingStep, "_take", trusting)


def catalog_older_than_the_batch() -> AbstractContextManager[object]:
    """A cached catalog misses a metric that was made before the event was posted."""
    current = SimulatedCatalogs.current

    async def cached(self: SimulatedCatalogs, held: Catalog | None) -> Catalog:
        return await current(self, held) if held is None else held

    return patch.object(SimulatedCatalogs, "current", cached)


@contextmanager
def promotion_that_does_not_wait_for_older_ranges() -> Iterator[None]:
    """What was rated before a metric was made, and is counted live after the promotion of a
    generation that has the metric, then misses it. Seen where much is promoted and changed."""

    async def whatever(self: Build, live: object, version: int) -> bool:
        return True

    def busy(rng: Random) -> Profile:
        profile = draw_profile(rng)
        profile.workers["operator"] = 2
        profile.rates["catalog_change"] = 0.05
        return profile

    with (
        patch.object(Build, "counted_since", whatever),
        patch("tests.simulation.simulation.draw_profile", busy),
    ):
        yield


# The safeguard that is off, the kinds of failure that tell, and within how many seeds.
CONTROLS: list[tuple[Switch, set[str], int]] = [
    (claim_that_does_not_hold_its_offset, {"lost"}, 1_000),
    (mark_that_is_not_checked, {"doubled"}, 1_000),
    (restore_that_does_not_check_the_mark, {"doubled"}, 4_000),
    (rating_that_does_not_trim, {"halted"}, 1_000),
    (nobody_trims, {"doubled"}, 1_000),
    (projection_that_does_not_compare, {"doubled"}, 1_000),
    (ack_before_the_append, {"lost"}, 1_000),
    (stage_that_goes_on_after_a_failed_send, {"halted"}, 1_000),
    # The next hop sees the hole; without its check it would be a loss.
    (dedup_that_resumes_from_committed_offsets, {"halted"}, 1_000),
    (rating_that_resumes_from_committed_offsets, {"halted"}, 1_000),
    (catalog_older_than_the_batch, {"catalog"}, 1_000),
    (promotion_that_does_not_wait_for_older_ranges, {"older"}, 3_000),
]


@pytest.mark.parametrize(
    ("switch", "kinds", "seeds"), CONTROLS, ids=[switch.__name__ for switch, _, _ in CONTROLS]
)
def test_without_the_safeguard_a_seed_fails(switch: Switch, kinds: set[str], seeds: int) -> None:
    found: dict[int, str] = {}
    with switch():
        for seed in range(seeds):
            failure = simulate(seed).failure
            if failure is not None:
                found[seed] = failure.kind
                if failure.kind in kinds:
                    print(f"{switch.__name__}: seed {seed}: {failure}")
                    return
    pytest.fail(f"{seeds} seeds without the safeguard found {found}, none of {kinds}")


def test_the_same_seeds_pass_with_every_safeguard_on() -> None:
    assert [outcome.failure for outcome in map(simulate, range(100))] == [None] * 100
