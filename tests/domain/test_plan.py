"""What is wrong with a charge's tiers is found, all of it, and named by its place."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.plan import tier_faults


@given(st.lists(st.sampled_from([Decimal(n) for n in ("0", "0.0", "0.5", "1", "100", "-1")])))
def test_tiers_are_sound_when_they_begin_at_zero_and_rise(starts: list[Decimal]) -> None:
    rising = all(a < b for a, b in pairwise(starts))
    sound = not starts or (starts[0] == 0 and rising)
    assert (tier_faults(starts) == []) is sound


@pytest.mark.parametrize(
    ("starts", "indices"),
    [
        (["0"], []),
        (["0", "100", "1000"], []),
        (["1"], [0]),
        (["-1", "100"], [0]),
        (["0", "0"], [1]),
        (["0", "100", "100", "50"], [2, 3]),
        (["5", "3", "4"], [0, 1]),
    ],
)
def test_every_faulty_tier_is_named(starts: list[str], indices: list[int]) -> None:
    faults = tier_faults([Decimal(start) for start in starts])
    assert [index for index, _ in faults] == indices
    assert all(reason for _, reason in faults)
