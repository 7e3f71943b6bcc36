"""The index of seen ids in memory, for tests and simulation. Decides with `domain.dedup.judge`."""

from collections.abc import Sequence

from services.dedup.index import Behind, Claim, Judged
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
        claims: Sequence[Claim],
        *,
        chain_start: int,
        oldest_offset: int,
    ) -> Judged | Behind:
        """See SeenIndex."""
        mark = self.marks.get(partition)
        if taken.first != chain_start and (mark is None or mark < taken.first - 1):
            return Behind(mark)
        judged = Judged([])
        for claim in claims:
            key = (partition, claim.digest)
            sighting = Sighting(claim.offset, claim.fingerprint)
            verdict = judge(self.seen.get(key), sighting, oldest_offset)
            if verdict is Verdict.UNIQUE:
                self.seen[key] = sighting
            elif verdict is Verdict.CONFLICT:
                judged.first_offsets[claim.offset] = self.seen[key].offset
            judged.verdicts.append(verdict)
        self.marks[partition] = max(taken.last, -1 if mark is None else mark)
        return judged

    async def restore(
        self, partition: int, taken: Range, claims: Sequence[Claim], *, anew: bool
    ) -> Behind | None:
        """See SeenIndex."""
        mark = self.marks.get(partition)
        if (mark is None and not anew) or (mark is not None and mark < taken.first - 1):
            return Behind(mark)
        for claim in claims:
            key = (partition, claim.digest)
            known = self.seen.get(key)
            if known is None or known.offset < claim.offset:
                self.seen[key] = Sighting(claim.offset, claim.fingerprint)
        self.marks[partition] = max(taken.last, -1 if mark is None else mark)
        return None

    async def forget(self, partition: int) -> None:
        """See SeenIndex."""
        for key in [key for key in self.seen if key[0] == partition]:
            del self.seen[key]
        self.marks.pop(partition, None)

    async def sweep(self, partition: int, buckets: range, oldest_offset: int) -> int:
        """See SeenIndex."""
        stale = [
            (held_by, digest)
            for (held_by, digest), sighting in self.seen.items()
            if held_by == partition
            and int.from_bytes(digest[:2]) in buckets
            and sighting.offset < oldest_offset
        ]
        for key in stale:
            del self.seen[key]
        return buckets.stop
