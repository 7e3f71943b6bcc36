"""The index of seen ids in memory, for tests and simulation. Decides with `domain.dedup.judge`."""

from services.dedup.index import Behind, Claims, Judged
from services.domain.chain import Range
from services.domain.dedup import Sighting, Verdict, judge


class MemorySeenIndex:
    """See `services.dedup.index.SeenIndex`."""

    def __init__(self) -> None:
        self.seen: dict[tuple[int, bytes], Sighting] = {}
        self.marks: dict[int, int] = {}

    async def claim(
        self,
        partition: int,
        taken: Range,
        claims: Claims,
        *,
        chain_start: int,
        oldest_offset: int,
    ) -> Judged | Behind:
        """See SeenIndex."""
        mark = self.marks.get(partition)
        if taken.first != chain_start and (mark is None or mark < taken.first - 1):
            return Behind(mark)
        judged = Judged()
        for digest, sighting in _sightings(claims):
            key = (partition, digest)
            verdict = judge(self.seen.get(key), sighting, oldest_offset)
            if verdict is Verdict.UNIQUE:
                self.seen[key] = sighting
                continue
            judged.repeats[sighting.offset] = verdict
            if verdict is Verdict.CONFLICT:
                judged.first_offsets[sighting.offset] = self.seen[key].offset
        self.marks[partition] = max(taken.last, -1 if mark is None else mark)
        return judged

    async def restore(
        self, partition: int, taken: Range, claims: Claims, *, anew: bool
    ) -> Behind | None:
        """See SeenIndex."""
        mark = self.marks.get(partition)
        if (mark is None and not anew) or (mark is not None and mark < taken.first - 1):
            return Behind(mark)
        for digest, sighting in _sightings(claims):
            key = (partition, digest)
            known = self.seen.get(key)
            if known is None or known.offset < sighting.offset:
                self.seen[key] = sighting
        self.marks[partition] = max(taken.last, -1 if mark is None else mark)
        return None

    async def forget(self, partition: int) -> None:
        """See SeenIndex."""
        for key in [key for key in self.seen if key[0] == partition]:
            del self.seen[key]
        self.marks.pop(partition, None)

    async def sweep(self, partition: int, cursor: int, oldest_offset: int) -> int:
        """See SeenIndex; a pass is one call."""
        stale = [
            key
            for key, sighting in self.seen.items()
            if key[0] == partition and sighting.offset < oldest_offset
        ]
        for key in stale:
            del self.seen[key]
        return 0


def _sightings(claims: Claims) -> list[tuple[bytes, Sighting]]:
    columns = zip(claims.digests, claims.offsets, claims.fingerprints, strict=True)
    return [(digest, Sighting(offset, fingerprint)) for digest, offset, fingerprint in columns]
