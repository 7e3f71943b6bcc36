"""An index of seen ids, spoken to in short by its contract suites."""

from dataclasses import dataclass

from services.dedup.index import Behind, Claim, Judged, SeenIndex
from services.domain.chain import Range
from services.domain.dedup import Verdict, digest_of

Answer = list[Verdict] | Behind


@dataclass
class Subject:
    """An empty index, spoken to in short."""

    index: SeenIndex

    async def claim(
        self,
        *sightings: tuple[str, int, int],
        upto: int | None = None,
        start: int = 0,
        oldest: int = 0,
        partition: int = 0,
    ) -> Answer:
        """The verdicts on (id, offset, fingerprint) sightings of a range from the first one's
        offset."""
        judged = await self.judge(
            *sightings, upto=upto, start=start, oldest=oldest, partition=partition
        )
        return judged if isinstance(judged, Behind) else judged.verdicts

    async def judge(
        self,
        *sightings: tuple[str, int, int],
        upto: int | None = None,
        start: int = 0,
        oldest: int = 0,
        partition: int = 0,
    ) -> Judged | Behind:
        """The same, with the first offsets of conflicts."""
        claims = [Claim(digest_of(key), offset, content) for key, offset, content in sightings]
        first, last = claims[0].offset, claims[-1].offset if upto is None else upto
        return await self.index.claim(
            partition, Range(first, last), claims, chain_start=start, oldest_offset=oldest
        )

    async def restore(
        self, last: int, *sightings: tuple[str, int, int], first: int = 0, anew: bool = True
    ) -> Behind | None:
        """Put (id, offset, fingerprint) sightings back."""
        claims = [Claim(digest_of(key), offset, content) for key, offset, content in sightings]
        return await self.index.restore(0, Range(first, last), claims, anew=anew)
