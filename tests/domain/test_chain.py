"""The chain of ranges: repeats and overlaps are accounted for once, a gap is never crossed."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.chain import (
    ChainBroken,
    Fresh,
    Gap,
    Range,
    Repeat,
    Unit,
    check_position,
    link,
)

# How far back a range begins before what is expected next, and its length.
steps = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 20)), max_size=60)


@given(st.integers(0, 1_000), steps)
def test_repeats_and_overlaps_account_for_each_offset_exactly_once(
    start: int, arrivals: list[tuple[int, int]]
) -> None:
    next_offset: int | None = None
    highest = start - 1
    counted: Counter[int] = Counter()
    for back, length in arrivals:
        first = start if next_offset is None else max(start, next_offset - back)
        arrived = Range(first, first + length - 1)
        highest = max(highest, arrived.last)
        step = link(next_offset, arrived)
        if isinstance(step, Fresh):
            counted.update(range(step.range.first, step.range.last + 1))
            next_offset = step.range.last + 1
        else:
            assert isinstance(step, Repeat)
    assert counted == Counter(range(start, highest + 1))


@given(st.integers(0, 100), st.integers(0, 120), st.integers(1, 50))
def test_a_range_continues_repeats_or_leaves_a_gap(
    next_offset: int, first: int, length: int
) -> None:
    arrived = Range(first, first + length - 1)
    unseen = [offset for offset in range(first, first + length) if offset >= next_offset]
    step = link(next_offset, arrived)
    if first > next_offset:
        assert step == Gap(next_offset, first)
    elif unseen:
        assert step == Fresh(Range(unseen[0], unseen[-1]))
        assert unseen[0] == next_offset
    else:
        assert step == Repeat()


@pytest.mark.parametrize(
    ("next_offset", "arrived", "expected"),
    [
        (None, Range(7, 9), Fresh(Range(7, 9))),
        (10, Range(10, 12), Fresh(Range(10, 12))),
        (10, Range(8, 10), Fresh(Range(10, 10))),
        (10, Range(8, 9), Repeat()),
        (10, Range(11, 12), Gap(10, 11)),
    ],
)
def test_link_at_its_edges(next_offset: int | None, arrived: Range, expected: object) -> None:
    assert link(next_offset, arrived) == expected


def test_a_range_is_inclusive_at_both_ends_and_never_empty() -> None:
    assert Range(5, 5).size == 1
    assert Range(0, 999).size == 1_000
    with pytest.raises(AssertionError):
        Range(5, 4)
    with pytest.raises(AssertionError):
        Range(-1, 4)


def test_a_gap_names_topic_partition_and_what_is_missing() -> None:
    message = str(ChainBroken("usage.unique", 3, 100, 140))
    assert "usage.unique[3]" in message
    assert "40 raw offsets" in message
    assert "100" in message


def test_a_place_that_is_no_raw_offset_is_not_called_one() -> None:
    broken = ChainBroken("usage.rated", 3, 7, 12, unit=Unit.OFFSET)
    assert "usage.rated[3]: expected to go on at offset 7, found 12; the 5 offsets" in str(broken)
    assert "raw offset" not in str(broken)
    assert "restore" in str(broken)
    assert (broken.topic, broken.partition) == ("usage.rated", 3)
    assert (broken.expected, broken.found) == (7, 12)


def test_a_topic_made_anew_is_said() -> None:
    assert "made anew" in str(ChainBroken("usage.raw", 0, 100, 99, made_anew=True))


@pytest.mark.parametrize("position", [3, 5, 9])
def test_a_source_is_read_on_from_anywhere_within_its_bounds(position: int) -> None:
    check_position("usage.rated", 0, position, (3, 9), Unit.OFFSET)


@pytest.mark.parametrize(("position", "found"), [(2, 3), (10, 9)])
def test_a_position_that_the_source_does_not_have_breaks_the_chain(
    position: int, found: int
) -> None:
    with pytest.raises(ChainBroken) as broken:
        check_position("usage.rated", 0, position, (3, 9), Unit.OFFSET)
    assert (broken.value.expected, broken.value.found) == (position, found)


def test_a_topic_that_ends_early_is_called_truncated() -> None:
    assert "truncated or made anew" in str(ChainBroken("usage.raw", 0, 100, 5))
