"""The verdict on one sighting of a transaction_id. Pure: what was seen before is handed in.

DESIGN section 3: the verdict is a function of the log alone, so a replay repeats it.
"""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from zlib import crc32

# Metronome's window: an id is remembered 34 days from its acceptance.
REMEMBERED_DAYS = 34
DIGEST_BYTES = 16  # 128 bits: no two ids of a lifetime of events share one


class Verdict(Enum):
    """Fate of a sighting."""

    UNIQUE = "unique"
    DUPLICATE = "duplicate"  # same id, same content
    CONFLICT = "conflict"  # same id, other content: a duplicate, flagged


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where an id was first seen, and a fingerprint of what it then said."""

    offset: int
    fingerprint: int


def digest_of(transaction_id: str) -> bytes:
    """16 bytes that stand for a transaction_id in the index."""
    return blake2b(transaction_id.encode(), digest_size=DIGEST_BYTES).digest()


def fingerprint_of(content: bytes) -> int:
    """32 bits of the event's canonical bytes: tells a retry from a different event, no more."""
    return crc32(content)


def judge(first: Sighting | None, sighting: Sighting, oldest_offset: int) -> Verdict:
    """The verdict on `sighting`, given the first one on record.

    `oldest_offset` is the offset of the instant REMEMBERED_DAYS before this record's own time; a
    first sighting below it is forgotten. The same offset again is a redelivery after a crash and
    must be forwarded again, so it is unique.
    """
    if first is None or first.offset < oldest_offset or first.offset == sighting.offset:
        return Verdict.UNIQUE
    if first.fingerprint == sighting.fingerprint:
        return Verdict.DUPLICATE
    return Verdict.CONFLICT
