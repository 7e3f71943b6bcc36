"""The verdict: the first sighting of an id in its window is unique, every later one is not."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.dedup import (
    DIGEST_BYTES,
    FINGERPRINT_BITS,
    Sighting,
    Verdict,
    digest_of,
    fingerprint_of,
    judge,
    window_start_ms,
)

UNIQUE, DUPLICATE, CONFLICT = Verdict.UNIQUE, Verdict.DUPLICATE, Verdict.CONFLICT
SEEN = Sighting(offset=10, fingerprint=1)


@pytest.mark.parametrize(
    ("first", "sighting", "oldest_offset", "verdict"),
    [
        (None, Sighting(10, 1), 0, UNIQUE),
        (SEEN, Sighting(20, 1), 0, DUPLICATE),
        (SEEN, Sighting(20, 2), 0, CONFLICT),
        (SEEN, Sighting(10, 1), 0, UNIQUE),  # a redelivery is forwarded again
        (SEEN, Sighting(20, 1), 10, DUPLICATE),  # the first offset of the window is inside
        (SEEN, Sighting(20, 1), 11, UNIQUE),  # forgotten
        (SEEN, Sighting(20, 2), 11, UNIQUE),  # forgotten: no conflict either
    ],
)
def test_the_verdicts(
    first: Sighting | None, sighting: Sighting, oldest_offset: int, verdict: Verdict
) -> None:
    assert judge(first, sighting, oldest_offset) is verdict


DAY_MS = 24 * 60 * 60 * 1000
HOUR_MS = 60 * 60 * 1000
NOON_MS = 1_764_000_000_000 // DAY_MS * DAY_MS + DAY_MS // 2


@pytest.mark.parametrize(
    ("after_ms", "verdict"),
    [
        (33 * DAY_MS, DUPLICATE),
        (34 * DAY_MS, DUPLICATE),
        (34 * DAY_MS + HOUR_MS - 1, DUPLICATE),  # the window moves by whole hours
        (34 * DAY_MS + HOUR_MS, UNIQUE),
        (35 * DAY_MS, UNIQUE),
    ],
)
def test_an_id_is_remembered_34_days_of_the_logs_own_time(after_ms: int, verdict: Verdict) -> None:
    """First seen at noon, offset 2 of a log that has records an hour around it."""
    times = [NOON_MS - HOUR_MS, NOON_MS - 1, NOON_MS, NOON_MS + HOUR_MS]
    oldest_offset = bisect_left(times, window_start_ms(NOON_MS + after_ms))
    assert judge(Sighting(2, 1), Sighting(5, 1), oldest_offset) is verdict


@given(st.integers(0, 2**42), st.integers(0, 2**42))
def test_the_window_never_moves_back_and_is_never_shorter(one: int, other: int) -> None:
    earlier, later = sorted((one, other))
    assert window_start_ms(earlier) <= window_start_ms(later)
    assert 34 * DAY_MS <= later - window_start_ms(later) < 34 * DAY_MS + HOUR_MS


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2))), st.integers(1, 20))
def test_of_each_id_the_first_sighting_in_every_window_counts(
    posts: list[tuple[int, int]], window: int
) -> None:
    """Ids remembered for `window` offsets, by hand: how long ago was it last counted?"""
    seen: dict[int, Sighting] = {}
    counted_at: dict[int, int] = {}
    for offset, (key, content) in enumerate(posts):
        sighting = Sighting(offset, content)
        verdict = judge(seen.get(key), sighting, offset - window)
        fresh = key not in counted_at or offset - counted_at[key] > window
        assert (verdict is UNIQUE) is fresh
        if fresh:
            seen[key] = sighting
            counted_at[key] = offset
        else:
            same = seen[key].fingerprint == content
            assert verdict is (DUPLICATE if same else CONFLICT)


def test_a_digest_has_its_length_and_is_its_own_for_each_id() -> None:
    digests = {digest_of(b"%d" % number) for number in range(10_000)}
    assert len(digests) == 10_000
    assert {len(digest) for digest in digests} == {DIGEST_BYTES}


def test_the_digest_never_changes() -> None:
    """It is kept in Redis for 34 days, so another one would forget every id: it takes another
    layout of the index."""
    assert digest_of(b"tx-1").hex() == "1dade1d9878de5fc0049"
    assert fingerprint_of(b"123456789") == 0xCBF43926 % 2**FINGERPRINT_BITS
