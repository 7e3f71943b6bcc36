"""Ids of series that were looked up before. Bounded: what was not asked for in a while is dropped,
one half at a time, so that more series than it holds make it slower, never useless.
"""

import sys
from uuid import UUID

SeriesKey = tuple[str, UUID, tuple[str | None, ...]]  # reference, metric id, group values

# Metrics and groups whose objects are shared by the keys that are kept.
_SHARED_MAX = 100_000


class SeriesCache:
    """Series ids of one generation, for ever the same."""

    def __init__(self, size_max: int) -> None:
        self._half = max(1, size_max // 2)
        self._young: dict[SeriesKey, int] = {}
        self._old: dict[SeriesKey, int] = {}
        self._shared: dict[tuple[UUID, tuple[str | None, ...]], SeriesKey] = {}

    def get(self, key: SeriesKey) -> int | None:
        """The id, if it is known."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.add(key, found)
        return found

    def add(self, key: SeriesKey, series_id: int) -> None:
        """Remember it; may forget others."""
        reference, metric_id, group = key
        if len(self._shared) >= _SHARED_MAX:
            self._shared.clear()
        # Every record that is read makes its own objects: kept as they come, they would be most of
        # what the cache takes.
        shared = self._shared.setdefault((metric_id, group), key)
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[sys.intern(reference), shared[1], shared[2]] = series_id

    def clear(self) -> None:
        """Forget all of them."""
        self._young.clear()
        self._old.clear()
