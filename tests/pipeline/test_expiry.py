"""Ids expire by the log's own clock, through the real stages over the memory adapters: with time
handed in, the same id is a duplicate on day 33 and new on day 35, and a replay says the same. What
the window has left does not stay in the index.
"""

import asyncio
from dataclasses import dataclass

import pytest

from services.dedup.index_memory import MemorySeenIndex
from services.dedup.sweep import Sweep
from services.runtime.log import RAW, UNIQUE
from services.runtime.records import decode_unique
from tests.pipeline.harness import PARTITIONS, Pipeline, event

DAY_MS = 24 * 60 * 60 * 1000
START_MS = 1_764_000_000_000


@dataclass
class Days:
    """A pipeline whose log goes by days."""

    pipeline: Pipeline

    def post(self, day: int, *amounts: str) -> None:
        """On that day, id "a" with these amounts; everything is taken at once."""
        self.pipeline.log.now_ms = START_MS + day * DAY_MS
        self.pipeline.post(*(event("a", amount) for amount in amounts))
        self.pipeline = self.pipeline.restarted()
        asyncio.run(self.pipeline.run())


def lived() -> Pipeline:
    """Day 33 is a duplicate of day 0; day 35 is new, and what is then remembered."""
    days = Days(Pipeline())
    days.post(0, "1")
    assert days.pipeline.total() == 1
    days.post(33, "1", "7")
    assert days.pipeline.total() == 1
    days.post(35, "10")
    assert days.pipeline.total() == 11
    days.post(68, "10", "1")  # 33 days after its second life began: a duplicate and a conflict
    assert days.pipeline.total() == 11
    days.post(70, "100")
    return days.pipeline


def test_an_id_is_a_duplicate_on_day_33_and_new_on_day_35() -> None:
    pipeline = lived()
    assert pipeline.total() == 111
    assert pipeline.fates() == {
        "counted": 3, "duplicates": 4, "conflicts": 2, "rejected": 0, "unmatched": 0,
    }  # fmt: skip
    firsts = {o: c.first_offset for (_, o), c in pipeline.projection.conflicts.items()}
    assert firsts == {2: 0, 5: 3}
    [held] = pipeline.index.seen.values()
    assert held.offset == 6


@pytest.mark.parametrize("lost_before", [None, 1, 3, 5])
def test_a_replay_with_a_fresh_index_gives_the_same_verdicts(lost_before: int | None) -> None:
    """Dedup again over the same usage.raw; once all of it in one go, else with the index lost on
    the way and restored from usage.unique."""
    live = lived()
    again = Pipeline()
    for partition in range(PARTITIONS):
        records = live.log.partitions[RAW, partition]
        if not records:
            continue
        for number, record in enumerate(records):
            again.log.now_ms = record.timestamp_ms
            again.log.put(RAW, partition, record.key, record.value)
            if lost_before is None:
                continue
            if number == lost_before:
                again.index.seen.clear()
                again.index.marks.clear()
            asyncio.run(again.run_dedup(partition))
        asyncio.run(again.run_dedup(partition))
        assert verdicts(again, partition) == verdicts(live, partition)


def verdicts(pipeline: Pipeline, partition: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Raw offsets of the unique events, and of the conflicts with their first sightings."""
    batches = [decode_unique(r.value, "") for r in pipeline.log.partitions[UNIQUE, partition]]
    unique = [batch.first + offset for batch in batches for offset in batch.offsets]
    conflicts = [(b.first + c.offset, c.first_offset) for b in batches for c in b.conflicts]
    return unique, conflicts


class SteppingIndex(MemorySeenIndex):
    """Goes round in some steps, and notes which were taken for which start of the window."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.swept: list[tuple[int, int]] = []

    async def sweep(self, partition: int, cursor: int, oldest_offset: int) -> int:
        """The cursor is the step to take."""
        self.swept.append((cursor, oldest_offset))
        return (cursor + 1) % self.steps


@pytest.mark.parametrize("steps", [1, 17])
def test_a_pass_goes_round_once_and_then_rests(steps: int) -> None:
    index = SteppingIndex(steps)
    sweep = Sweep(index, 0)

    async def scenario() -> None:
        for _ in range(10):
            await sweep.go_on(0)  # nothing has left the window yet
        assert index.swept == []
        for _ in range(3 * steps):
            await sweep.go_on(5)
        assert index.swept == [(step, 5) for step in range(steps)]

    asyncio.run(scenario())


def test_a_window_that_moves_in_the_middle_of_a_pass_begins_another_after_it() -> None:
    index = SteppingIndex(4)
    sweep = Sweep(index, 0)

    async def scenario() -> None:
        await sweep.go_on(5)
        for _ in range(20):
            await sweep.go_on(6)
        assert index.swept == [(0, 5), (1, 6), (2, 6), (3, 6), (0, 6), (1, 6), (2, 6), (3, 6)]

    asyncio.run(scenario())


async def ids_held_after(days: int, index: MemorySeenIndex) -> tuple[int, int]:
    """How many ids the index holds after that many days with 20 new ids and many ranges a day, and
    how many of them lie in the window and the day of grace before it."""
    pipeline = Pipeline(index=index)
    for partition in range(PARTITIONS):
        await pipeline.dedup.open(partition)
    for day in range(days):
        pipeline.log.now_ms = START_MS + day * DAY_MS
        pipeline.post(*(event(f"{day}-{n}") for n in range(20)))
        for partition in range(PARTITIONS):
            records = pipeline.log.partitions[RAW, partition]
            fresh = [r for r in records if r.timestamp_ms == pipeline.log.now_ms]
            for record in fresh:
                await pipeline.dedup.process({partition: [record]})
    return len(index.seen), 36 * 20


def test_ids_that_left_the_window_leave_the_index() -> None:
    held, remembered = asyncio.run(ids_held_after(80, MemorySeenIndex()))
    assert held == remembered


def test_without_the_sweep_they_would_stay_for_ever() -> None:
    """Negative control of the test above."""

    class Idle(MemorySeenIndex):
        async def sweep(self, partition: int, cursor: int, oldest_offset: int) -> int:
            """Nothing."""
            return 0

    held, _ = asyncio.run(ids_held_after(80, Idle()))
    assert held == 80 * 20
