"""The slow sweep: ids that the window has left do not stay in the index for ever. Decides only how
much to sweep and when; never touches an id that is still remembered.
"""

from services.dedup.index import BUCKETS, SeenIndex

# A range of up to 1,000 events sweeps so many: a pass takes about a thousand ranges.
BUCKETS_AT_ONCE = 64


class Sweep:
    """Goes round the buckets of one partition, a few at a time: one whole pass for each start of
    the window, then rest until it moves."""

    def __init__(self, index: SeenIndex, partition: int) -> None:
        self._index = index
        self._partition = partition
        self._oldest_offset = 0
        self._next_bucket = 0
        self._left = 0

    async def go_on(self, oldest_offset: int) -> None:
        """Sweep some buckets of what was first seen below `oldest_offset`: well before the window's
        start, for an earlier hour may be judged again.
        Raises what the index raises."""
        if oldest_offset > self._oldest_offset:
            self._oldest_offset = oldest_offset
            self._left = BUCKETS
        if self._left == 0:
            return
        first = self._next_bucket
        last = min(first + min(BUCKETS_AT_ONCE, self._left), BUCKETS)
        reached = await self._index.sweep(self._partition, range(first, last), self._oldest_offset)
        self._left -= reached - first
        self._next_bucket = reached % BUCKETS
