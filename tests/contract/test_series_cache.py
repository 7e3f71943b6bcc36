"""The cache of series ids: bounded, and what is in use stays."""

from uuid import UUID

from services.projector.series_cache import SeriesCache, SeriesKey


def key(number: int) -> SeriesKey:
    """A series of its own, made of new objects."""
    return f"customer-{number}", UUID(int=1), (f"group-{number % 3}",)


def test_what_is_in_use_stays_while_others_come_and_go() -> None:
    cache = SeriesCache(10)
    cache.add(key(0), 100)
    for number in range(1, 200):
        cache.add(key(number), 100 + number)
        assert cache.get(key(0)) == 100
        assert cache.get(key(number)) == 100 + number
    assert sum(cache.get(key(number)) is not None for number in range(200)) <= 10


def test_it_keeps_no_more_than_it_may() -> None:
    cache = SeriesCache(10)
    for number in range(1_000):
        cache.add(key(number), number)
    assert [cache.get(key(number)) for number in range(995, 1_000)] == list(range(995, 1_000))
    assert [cache.get(key(number)) for number in range(990)] == [None] * 990


def test_nothing_is_known_once_it_is_cleared() -> None:
    cache = SeriesCache(10)
    for number in range(8):
        cache.add(key(number), number)
    cache.clear()
    assert [cache.get(key(number)) for number in range(8)] == [None] * 8
