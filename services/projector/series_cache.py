"""Ids of series that were looked up before. Bounded: what was not asked for in a while is dropped,
one half at a time, so that more series than it holds make it slower, never useless.
"""

from uuid import UUID

SeriesKey = tuple[str, UUID, tuple[str | None, ...]]  # reference, metric id, group values


class SeriesCache:
    """Series ids of one generation, for ever the same."""

    def __init__(self, size_max: int) -> None:
        self._half = max(1, size_max // 2)
        self._young: dict[SeriesKey, int] = {}
        self._old: dict[SeriesKey, int] = {}

    def get(self, key: SeriesKey) -> int | None:
        """The id, if it is known."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.add(key, found)
        return found

    def add(self, key: SeriesKey, series: int) -> None:
        """Remember it; may forget others."""
        if len(self._young) >= self._half:
            self._old = self._young
            self._young = {}
        self._young[key] = series

    def clear(self) -> None:
        """Forget all of them."""
        self._young.clear()
        self._old.clear()
