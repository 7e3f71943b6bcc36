"""The window is the log's own: it forgets nothing earlier because usage.raw was cut, because a
worker that was paused wrote old ranges again, or because the log's time ran backwards.
"""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.dedup.index_memory import MemorySeenIndex
from services.dedup.search import BACK_RECORDS
from services.dedup.step import DedupStep
from services.domain.chain import ChainBroken
from services.runtime.events import encode_event
from services.runtime.log import RAW, UNIQUE
from services.runtime.log_memory import MemoryLog
from services.runtime.records import decode_unique
from tests.pipeline.harness import event

HOUR_MS = 60 * 60 * 1000
DAY_MS = 24 * HOUR_MS
START_MS = 1_764_000_000_000 // DAY_MS * DAY_MS


@dataclass
class Dedup:
    """Dedup of one partition, a range an event, over one log and one index."""

    log: MemoryLog = field(default_factory=MemoryLog)
    index: MemorySeenIndex = field(default_factory=MemorySeenIndex)

    def __post_init__(self) -> None:
        self.step = DedupStep(self.log, self.index, 1)
        self.next = asyncio.run(self.step.open(0))

    def restarted(self) -> "Dedup":
        """A new process, at its checkpoint."""
        return Dedup(self.log, self.index)

    def post(self, at_ms: int, name: str) -> int:
        """Put an event on usage.raw, at a time after the start; its raw offset."""
        self.log.now_ms = START_MS + at_ms
        return self.log.put(RAW, 0, name.encode(), encode_event(event(name)))

    def work(self) -> list[ChainBroken]:
        """Judge what has come."""
        for record in [r for r in self.log.partitions[RAW, 0] if r.offset >= self.next]:
            if broken := asyncio.run(self.step.process({0: [record]})):
                return broken
            self.next = record.offset + 1
        return []

    def take(self, at_ms: int, name: str) -> bool:
        """Post an event and judge it: whether it is unique."""
        offset = self.post(at_ms, name)
        assert self.work() == []
        return offset in self.unique()

    def unique(self) -> set[int]:
        """Raw offsets that were let through."""
        batches = [decode_unique(r.value, "") for r in self.log.partitions[UNIQUE, 0]]
        return {batch.first + offset for batch in batches for offset in batch.offsets}

    def write_again(self, first: int, count: int = 1) -> None:
        """What a worker does that was paused: it appends ranges that stand there long since."""
        for record in self.log.partitions[UNIQUE, 0][first : first + count]:
            self.log.put(UNIQUE, 0, None, record.value)

    def lose_index(self) -> None:
        """All of it."""
        self.index.seen.clear()
        self.index.marks.clear()


def days(dedup: Dedup, count: int) -> None:
    """An id of its own on each of the first days."""
    for day in range(count):
        assert dedup.take(day * DAY_MS, f"day {day}")


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("lost", [False, True])
@pytest.mark.parametrize("kept_from", [1, 11, 30, 40])
def test_a_usage_raw_that_was_cut_changes_no_verdict(
    kept_from: int, *, lost: bool, restart: bool
) -> None:
    """On day 40, with what is left of usage.raw, every id of the last 34 days is a duplicate and
    an older one is new, as they are with all of usage.raw."""
    for day in (0, 3, 5, 6, 20, 39):
        whole, cut = Dedup(), Dedup()
        for dedup in (whole, cut):
            days(dedup, 40)
        cut.log.truncate(RAW, 0, kept_from)
        if lost:
            cut.lose_index()
        if restart:
            cut = cut.restarted()
        verdicts = {dedup.take(40 * DAY_MS, f"day {day}") for dedup in (whole, cut)}
        assert verdicts == {day < 6}


def test_a_cut_usage_raw_does_not_let_the_sweep_take_ids_of_the_window() -> None:
    dedup = Dedup()
    days(dedup, 20)
    dedup.log.truncate(RAW, 0, 15)
    for hour in range(3):
        assert dedup.take(20 * DAY_MS + hour * HOUR_MS, f"hour {hour}")
    assert len(dedup.index.seen) == 23


@pytest.mark.parametrize("place", range(12))
def test_old_ranges_written_again_do_not_move_the_window_of_a_cut_usage_raw(place: int) -> None:
    """Wherever they stand, the search for the window's start is not misled by them."""
    dedup = Dedup()
    for day in range(12):
        assert dedup.take(day * DAY_MS, f"day {day}")
        if day == place:
            dedup.write_again(0, 4)
    dedup.log.truncate(RAW, 0, 12)
    assert not dedup.take(38 * DAY_MS, "day 4")
    assert not dedup.take(38 * DAY_MS, "day 6")
    assert dedup.take(38 * DAY_MS, "day 3")


def test_without_looking_back_old_ranges_written_again_would_mislead_the_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Negative control of the test above."""
    monkeypatch.setattr("services.dedup.search.BACK_RECORDS", 0)
    misled = 0
    for place in range(12):
        try:
            test_old_ranges_written_again_do_not_move_the_window_of_a_cut_usage_raw(place)
        except AssertionError:
            misled += 1
    assert misled


def test_with_both_topics_cut_into_the_window_nothing_is_forgotten() -> None:
    dedup = Dedup()
    days(dedup, 10)
    dedup.log.truncate(RAW, 0, 8)
    dedup.log.truncate(UNIQUE, 0, 7)
    assert not dedup.take(11 * DAY_MS, "day 2")
    dedup.lose_index()  # and now what is lost cannot be put back: that is said
    dedup.post(11 * DAY_MS, "day 2")
    [broken] = dedup.work()
    assert broken.topic == UNIQUE


def an_hour_that_leaves_the_window(dedup: Dedup) -> int:
    """X is seen, and again 34 days later: a duplicate by the window of that hour, new by that of
    the next hour, in which the log then is. The record of usage.unique with the duplicate."""
    assert dedup.take(10, "X")
    assert dedup.take(2 * HOUR_MS, "other")
    assert dedup.take(34 * DAY_MS + 10, "first of the hour")
    assert not dedup.take(34 * DAY_MS + 20, "X")
    assert dedup.take(34 * DAY_MS + HOUR_MS, "next hour")
    for number in range(3):
        assert dedup.take(34 * DAY_MS + HOUR_MS + number, f"late {number}")
    return 3


@pytest.mark.parametrize("lost", [False, True])
def test_an_hour_judged_again_gets_the_verdicts_it_had(
    monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    """A paused worker's old range is the last that is looked at, and so the hour is judged again,
    after the sweep, or a restore in the next hour, has been at what its window needs."""
    monkeypatch.setattr("services.runtime.ends._TAIL_RECORDS", 0)
    dedup = Dedup()
    duplicate = an_hour_that_leaves_the_window(dedup)
    if lost:
        dedup.lose_index()
        assert dedup.take(34 * DAY_MS + HOUR_MS + 50, "restored")
    dedup.write_again(duplicate - 1)
    again = dedup.restarted()
    assert again.next == duplicate
    assert again.work() == []
    assert duplicate not in again.unique()


@pytest.mark.parametrize("count", [1, 30])
def test_old_ranges_at_the_end_do_not_move_the_checkpoint_back(count: int) -> None:
    dedup = Dedup()
    for number in range(60):
        assert dedup.take(number, f"{number}")
    dedup.write_again(3, count)
    again = dedup.restarted()
    assert again.next == 60
    assert again.take(100, "60")
    assert not again.take(101, "59")


@pytest.mark.parametrize("restart", [False, True])
def test_when_the_time_of_the_log_runs_backwards_the_window_does_not(*, restart: bool) -> None:
    """A restart judges as a worker that lives on."""
    dedup = Dedup()
    assert dedup.take(10, "X")
    assert dedup.take(2 * HOUR_MS, "other")
    assert dedup.take(34 * DAY_MS + HOUR_MS, "X has left the window")
    assert dedup.take(34 * DAY_MS + HOUR_MS - 2, "back by two milliseconds")
    if restart:
        dedup = dedup.restarted()
    assert dedup.take(34 * DAY_MS + HOUR_MS - 1, "X")


def test_ids_are_put_back_although_more_old_ranges_stand_there_than_a_search_looks_at() -> None:
    """Else the stage would start, fail and start again for ever."""
    dedup = Dedup()
    count = BACK_RECORDS + 100
    for number in range(count):
        assert dedup.take(number, f"{number}")
    dedup.write_again(0, BACK_RECORDS + 1)
    mark = BACK_RECORDS + 50
    for key in [key for key, seen in dedup.index.seen.items() if seen.offset > mark]:
        del dedup.index.seen[key]
    dedup.index.marks[0] = mark
    assert not dedup.take(count, f"{mark + 1}")
    assert not dedup.take(count, f"{count - 1}")
    assert dedup.take(count, "new")


def test_an_index_that_knows_nothing_is_not_restored_from_beyond_a_gap() -> None:
    """The range that the window begins with is missing in the midst of usage.unique: the ids in it
    would be counted twice."""
    dedup = Dedup()
    days(dedup, 40)
    del dedup.log.partitions[UNIQUE, 0][5:8]
    dedup.lose_index()
    dedup.post(41 * DAY_MS, "day 7")
    [broken] = dedup.work()
    assert (broken.topic, broken.found) == (UNIQUE, 8)


def test_an_index_lost_when_every_id_has_left_the_window_goes_on() -> None:
    """Nothing is put back, but the index learns how far the log was judged."""
    dedup = Dedup()
    days(dedup, 3)
    dedup.lose_index()
    assert dedup.take(60 * DAY_MS, "day 2")
    assert not dedup.take(60 * DAY_MS, "day 2")
