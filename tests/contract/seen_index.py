"""An index of seen ids, spoken to in short by its contract suites."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.dedup.index import Behind, Claims, Judged, SeenIndex
from services.domain.chain import Range
from services.domain.dedup import Verdict, digest_of

Answer = list[Verdict] | Behind
Sighting = tuple[str, int, int]  # id, offset, fingerprint


def claims_of(sightings: Sequence[Sighting]) -> Claims:
    """The sightings of a range in columns."""
    return Claims(
        [digest_of(key.encode()) for key, _, _ in sightings],
        [offset for _, offset, _ in sightings],
        [fingerprint for _, _, fingerprint in sightings],
    )


@dataclass
class Subject:
    """An empty index, spoken to in short."""

    index: SeenIndex

    async def claim(
        self,
        *sightings: Sighting,
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
        if isinstance(judged, Behind):
            return judged
        assert set(judged.repeats) <= {offset for _, offset, _ in sightings}
        return [judged.repeats.get(offset, Verdict.UNIQUE) for _, offset, _ in sightings]

    async def judge(
        self,
        *sightings: Sighting,
        upto: int | None = None,
        start: int = 0,
        oldest: int = 0,
        partition: int = 0,
    ) -> Judged | Behind:
        """The same, as the index answers."""
        first, last = sightings[0][1], sightings[-1][1] if upto is None else upto
        return await self.index.claim(
            partition,
            Range(first, last),
            claims_of(sightings),
            chain_start=start,
            oldest_offset=oldest,
        )

    async def restore(
        self, last: int, *sightings: Sighting, first: int = 0, anew: bool = True
    ) -> Behind | None:
        """Put (id, offset, fingerprint) sightings back."""
        return await self.index.restore(0, Range(first, last), claims_of(sightings), anew=anew)
