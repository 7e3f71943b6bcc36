"""Which partition an id goes to is fixed for ever: a change would part an id from its past."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.partition import partition_of

# zlib.crc32 of the UTF-8 bytes, modulo 8, 3 and 1024. 123456789 is CRC-32's own check value,
# 0xCBF43926, as every implementation gives it.
FIXED = [
    ("123456789", 6, 2, 294),
    ("a", 3, 0, 579),
    ("b", 1, 2, 1017),
    ("tx-1", 2, 2, 1002),
    ("tx-2", 0, 0, 592),
    ("0190f3f0-0000-7000-8000-000000000001", 4, 2, 436),
    ("\xfc", 5, 1, 469),
    ("\u6f22\u5b57", 7, 0, 943),
    ("\U0001f600", 4, 1, 324),
    (" ", 5, 2, 837),
]


@pytest.mark.parametrize(("transaction_id", "of_8", "of_3", "of_1024"), FIXED)
def test_the_partition_of_an_id_never_changes(
    transaction_id: str, of_8: int, of_3: int, of_1024: int
) -> None:
    assert partition_of(transaction_id, 8) == of_8
    assert partition_of(transaction_id, 3) == of_3
    assert partition_of(transaction_id, 1024) == of_1024


def test_the_check_value_of_crc_32() -> None:
    assert partition_of("123456789", 2**32) == 0xCBF43926


@given(st.text("abcdef-0123456789\xfc\u6f22", min_size=1, max_size=128), st.integers(1, 1024))
def test_every_id_has_a_partition_of_those_there_are(transaction_id: str, count: int) -> None:
    assert 0 <= partition_of(transaction_id, count) < count
