"""The slow sweep: ids that the window has left do not stay in the index for ever. Decides only when
to sweep; never touches an id that is still remembered.
"""

from services.dedup.index import SeenIndex


class Sweep:
    """Goes round the ids of one partition, some with each range: a whole pass for each start of the
    window, then rest until it moves."""

    def __init__(self, index: SeenIndex, partition: int) -> None:
        self._index = index
        self._partition = partition
        self._oldest_offset = 0
        self._cursor = 0
        # Passes left, the one under way included: one that began before the window moved has not
        # looked at everything since.
        self._passes = 0

    async def go_on(self, oldest_offset: int) -> None:
        """Sweep some of what was first seen below `oldest_offset`: well before the window's start,
        for an earlier hour may be judged again.
        Raises what the index raises."""
        if oldest_offset > self._oldest_offset:
            self._oldest_offset = oldest_offset
            self._passes = 1 if self._cursor == 0 else 2
        if self._passes == 0:
            return
        self._cursor = await self._index.sweep(self._partition, self._cursor, self._oldest_offset)
        if self._cursor == 0:
            self._passes -= 1
