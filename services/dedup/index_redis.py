"""The index of seen ids in Redis: one script call a range, both keys of a partition in one slot.

Keys of partition p, after a namespace: `{p}:2:mark` (a raw offset) and `{p}:2:ids`, a hash from
digests to where each was first seen (see `index_scripts`). No expiry: what is older than the window
is overwritten when it is seen again, or swept away. The 2 is the layout: another one never reads
it, and `drop_older` removes what an earlier one left.
"""

import struct
from collections.abc import Sequence

from redis.asyncio import Redis

from services.dedup import index_scripts as scripts
from services.dedup.index import Behind, Claims, Judged
from services.domain.chain import Range
from services.domain.dedup import DIGEST_BYTES, FINGERPRINT_BITS, Sighting, Verdict, judge

LAYOUT = 2
# Keys a round trip when an index is cleared.
CLEAR_KEYS = 5_000
# Ids of one script: twice as many and some more make the arguments of one command, which pass over
# Lua's stack of 8,000.
CLAIMS_MAX = 3_500
# Ids looked at by one sweep: about a millisecond, in which Redis answers nobody else.
SWEPT_IDS_MAX = 2_000

# Offsets below this stand in an entry with 5 bytes.
_SHORT_OFFSET_MAX = 2**40
_SHORT_BYTES, _LONG_BYTES = 8, 12
_FINGERPRINT_MASK = 2**FINGERPRINT_BITS - 1


class EvictingRedis(Exception):
    """This Redis may forget ids under memory pressure, and then events would count twice."""


class RedisSeenIndex:
    """See `services.dedup.index.SeenIndex`.

    `namespace` stands for the Kafka cluster: offsets mean nothing in another one's log.
    """

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._claim = redis.register_script(scripts.CLAIM)
        self._restore = redis.register_script(scripts.RESTORE)
        self._forget = redis.register_script(scripts.FORGET)
        self._sweep = redis.register_script(scripts.SWEEP)

    def _keys(self, partition: int) -> list[str]:
        prefix = f"{self._namespace}{{{partition}}}:{LAYOUT}:"
        return [f"{prefix}mark", f"{prefix}ids"]

    async def check_eviction(self) -> None:
        """Raises EvictingRedis unless the server never evicts."""
        policy = (await self._redis.info("memory")).get("maxmemory_policy")
        if policy != "noeviction":
            raise EvictingRedis(
                f"Redis has maxmemory-policy {policy}: under memory pressure it would forget ids,"
                " and events would count twice. Set maxmemory-policy noeviction and start again."
            )

    async def clear(self) -> None:
        """Forget everything in this namespace, of any layout; for an index that is done with."""
        await self._unlink_all(keep=None)

    async def drop_older(self, partition_count: int) -> bool:
        """Remove what an earlier layout left in this namespace; whether it had left anything. Its
        marks go last, for they tell that it did."""
        marks = [f"{self._namespace}{{{partition}}}:mark" for partition in range(partition_count)]
        if not await self._redis.exists(*marks):
            return False
        kept = {mark.encode() for mark in marks}
        for partition in range(partition_count):
            kept.update(key.encode() for key in self._keys(partition))
        await self._unlink_all(keep=kept)
        await self._redis.unlink(*marks)
        return True

    async def _unlink_all(self, keep: set[bytes] | None) -> None:
        cursor = 0
        while True:
            cursor, keys = await self._redis.scan(
                cursor, match=f"{self._namespace}{{*", count=CLEAR_KEYS
            )
            async with self._redis.pipeline(transaction=False) as removal:
                for key in keys:
                    if keep is None or key not in keep:
                        removal.unlink(key)
                await removal.execute()
            if cursor == 0:
                return

    async def claim(
        self,
        partition: int,
        taken: Range,
        claims: Claims,
        *,
        chain_start: int,
        oldest_offset: int,
    ) -> Judged | Behind:
        """See SeenIndex. Redis says what is known of an id; `judge` says what that makes of a
        sighting. An id that comes twice in the range goes to Redis once."""
        first, again = _places(claims.digests)
        sent = _at(claims, list(first.values())) if again else claims
        done, *answer = await self._claim(
            self._keys(partition),
            [taken.first, taken.last, chain_start, oldest_offset, *_packed(sent)],
        )
        if not done:
            return _behind(answer[0])
        found, values = answer
        known = {
            sent.digests[place]: _sighting(value)
            for place, value in zip(found, values, strict=True)
        }
        odd = [first[sent.digests[place]] for place in found]
        for place in again:
            digest = claims.digests[place]
            if digest not in known:  # then its first sighting in this range was the first of all
                known[digest] = _claimed(claims, first[digest])
        return _judged(claims, sorted(odd + again), known, oldest_offset)

    async def restore(
        self, partition: int, taken: Range, claims: Claims, *, anew: bool
    ) -> Behind | None:
        """See SeenIndex."""
        done, answer = await self._restore(
            self._keys(partition), [taken.first, taken.last, int(anew), *_packed(claims)]
        )
        return None if done else _behind(answer)

    async def forget(self, partition: int) -> None:
        """See SeenIndex."""
        await self._forget(self._keys(partition))

    async def sweep(self, partition: int, cursor: int, oldest_offset: int) -> int:
        """See SeenIndex."""
        return int(await self._sweep(self._keys(partition), [cursor, oldest_offset, SWEPT_IDS_MAX]))


def _behind(mark: bytes) -> Behind:
    return Behind(int(mark) if mark else None)


def _packed(claims: Claims) -> tuple[bytes, bytes, int]:
    """Digests, entries, and how many bytes each entry has."""
    count = len(claims.digests)
    assert count <= CLAIMS_MAX, f"{count} ids in one range"
    digests = b"".join(claims.digests)
    assert len(digests) == count * DIGEST_BYTES, "a digest has another length"
    assert max(claims.fingerprints, default=0) <= _FINGERPRINT_MASK, "a fingerprint is too long"
    pairs = zip(claims.offsets, claims.fingerprints, strict=True)
    if max(claims.offsets, default=0) < _SHORT_OFFSET_MAX:
        entries = [offset << FINGERPRINT_BITS | fingerprint for offset, fingerprint in pairs]
        return digests, struct.pack(f">{count}Q", *entries), _SHORT_BYTES
    long = [struct.pack(">QI", offset, fingerprint) for offset, fingerprint in pairs]
    return digests, b"".join(long), _LONG_BYTES


def _sighting(entry: bytes) -> Sighting:
    if len(entry) == _SHORT_BYTES:
        number = int.from_bytes(entry)
        return Sighting(number >> FINGERPRINT_BITS, number & _FINGERPRINT_MASK)
    return Sighting(*struct.unpack(">QI", entry))


def _places(digests: list[bytes]) -> tuple[dict[bytes, int], list[int]]:
    """Where each digest comes first, and the places where one comes again."""
    first = dict(zip(reversed(digests), range(len(digests) - 1, -1, -1), strict=True))
    if len(first) == len(digests):
        return first, []
    return first, [place for place, digest in enumerate(digests) if first[digest] != place]


def _at(claims: Claims, places: list[int]) -> Claims:
    places = sorted(places)
    return Claims(
        [claims.digests[place] for place in places],
        [claims.offsets[place] for place in places],
        [claims.fingerprints[place] for place in places],
    )


def _claimed(claims: Claims, place: int) -> Sighting:
    return Sighting(claims.offsets[place], claims.fingerprints[place])


def _judged(
    claims: Claims, places: Sequence[int], known: dict[bytes, Sighting], oldest_offset: int
) -> Judged:
    """The verdicts on the claims at some places, in order, the others being unique. `known`: the
    first sighting of each id there."""
    judged = Judged()
    for place in places:
        sighting = _claimed(claims, place)
        first = known[claims.digests[place]]
        verdict = judge(first, sighting, oldest_offset)
        if verdict is Verdict.UNIQUE:
            continue
        judged.repeats[sighting.offset] = verdict
        if verdict is Verdict.CONFLICT:
            judged.first_offsets[sighting.offset] = first.offset
    return judged
