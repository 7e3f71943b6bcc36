"""The verdict on one sighting of a transaction_id. Pure: what was seen before is handed in.

DESIGN section 3: the verdict is a function of the log alone, so a replay repeats it.
"""

from dataclasses import dataclass
from enum import Enum
from hashlib import blake2b
from zlib import crc32

# Metronome's window: an id is remembered 34 days from its acceptance.
REMEMBERED_DAYS = 34
_HOUR_MS = 60 * 60 * 1000
_REMEMBERED_MS = REMEMBERED_DAYS * 24 * _HOUR_MS
# Among the n ids that a partition remembers, a new one meets the digest of another with n in 2^80:
# of 4e9 (ten thousand events a second and 8 partitions), once in 3e14 events, or a thousand years.
# Such a one would be taken for a conflict, which is kept for people to see.
DIGEST_BYTES = 10
FINGERPRINT_BITS = 24


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


def digest_of(transaction_id: bytes) -> bytes:
    """What stands for a transaction_id, given in UTF-8, in the index: DIGEST_BYTES."""
    return blake2b(transaction_id, digest_size=DIGEST_BYTES).digest()


def fingerprint_of(content: bytes) -> int:
    """24 bits of the event's canonical bytes: tells a retry from a different event, no more."""
    return crc32(content) & 0xFFFFFF


def hour_of_log(ingested_at_ms: int) -> int:
    """Hours since the epoch of a log-append time in milliseconds since the epoch. Within one hour
    of the log's own time the window does not move."""
    return ingested_at_ms // _HOUR_MS


def hour_start_ms(hour: int) -> int:
    """The first millisecond since the epoch of an hour since the epoch."""
    return hour * _HOUR_MS


def window_start_ms(ingested_at_ms: int) -> int:
    """Since when ids are remembered as a record is ingested: REMEMBERED_DAYS before the hour it
    falls in. All instants are milliseconds since the epoch.

    The start moves by whole hours, so it is looked up rarely and two workers judge alike; an id is
    remembered up to an hour longer than REMEMBERED_DAYS, never shorter.
    """
    return hour_start_ms(hour_of_log(ingested_at_ms)) - _REMEMBERED_MS


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
