"""The port to the index of seen ids: an index only, the log is the authority if it is lost."""

from dataclasses import dataclass, field
from typing import Protocol

from services.domain.chain import Range
from services.domain.dedup import Verdict


@dataclass(frozen=True, slots=True)
class Claims:
    """The sightings of one range, in the order of the log; one column for each part, because an
    object for each sighting costs more than all that is done with it."""

    digests: list[bytes] = field(default_factory=list)
    """services.domain.dedup.digest_of(transaction_id)"""
    offsets: list[int] = field(default_factory=list)
    fingerprints: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts on the claims of one range. Whatever is not named here is unique."""

    repeats: dict[int, Verdict] = field(default_factory=dict)
    """Raw offset of each sighting that is not unique -> DUPLICATE or CONFLICT."""
    first_offsets: dict[int, int] = field(default_factory=dict)
    """Raw offset of each conflict -> raw offset of the first sighting of its id."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The index has forgotten: its high-water mark is behind the range. `mark` is the last raw
    offset it knows of, None when it knows nothing of the partition."""

    mark: int | None


class SeenIndex(Protocol):
    """Remembers, per partition, where each id was first seen, and up to which raw offset it was
    told (the mark). Raises the adapter's connection errors."""

    async def claim(
        self,
        partition: int,
        taken: Range,
        claims: Claims,
        *,
        chain_start: int,
        oldest_offset: int,
    ) -> Judged | Behind:
        """Judge the claims of one range in order and move the mark, atomically. `oldest_offset` is
        not beyond the range.

        Refuses with Behind, changing nothing, unless the mark is at `taken.first - 1` or later
        (or `taken` begins at `chain_start`, the first raw offset of all).
        """
        ...

    async def restore(
        self, partition: int, taken: Range, claims: Claims, *, anew: bool
    ) -> Behind | None:
        """Put back the unique sightings of one range of usage.unique and move the mark to its end,
        atomically.

        Refuses with Behind, changing nothing, unless the mark is at `taken.first - 1` or later: an
        index that forgets again while it is restored must not look whole. With `anew` this is the
        first range to be put back into an index that knows nothing, and such a one takes it.
        """
        ...

    async def forget(self, partition: int) -> None:
        """Forget everything about a partition, the mark too."""
        ...

    async def sweep(self, partition: int, cursor: int, oldest_offset: int) -> int:
        """Remove some ids that were first seen below `oldest_offset`, which the window has left
        long ago: no verdict changes by it.

        One call looks at a bounded number of ids and returns the cursor to go on with; a pass
        begins with 0 and has come round when 0 is returned. It meets every id that is there from
        its beginning to its end.
        """
        ...
