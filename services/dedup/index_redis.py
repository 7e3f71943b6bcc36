"""The index of seen ids in Redis: one script call a range, all keys of a partition in one slot.

Keys of partition p, after a namespace: `{p}:mark` (a raw offset) and `{p}:` + two bytes of the
digest: a hash from the other 14 bytes to 8 bytes offset + 4 bytes fingerprint. Redis keeps small
hashes packed. No expiry: what is older than the window is overwritten when it is seen again, or
swept away.
"""

import struct
from collections.abc import Sequence

from redis.asyncio import Redis

from services.dedup.index import Behind, Claim, Judged
from services.domain.chain import Range
from services.domain.dedup import Verdict

# Keys a round trip when an index is cleared.
CLEAR_KEYS = 5_000

_CLAIM = struct.Struct(">16sQI")
_OFFSET = struct.Struct(">Q")

# Offsets are read as two 32-bit halves: a Lua number is exact up to 2^53.
_CLAIM_SCRIPT = """
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local mark = redis.call('GET', KEYS[1])
if first ~= tonumber(ARGV[3]) and (not mark or tonumber(mark) < first - 1) then
  return {0, mark or ''}
end
local oldest, packed, prefix = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local verdicts, firsts = {}, {}
for i = 1, #packed, 28 do
  local bucket = prefix .. string.sub(packed, i, i + 1)
  local id = string.sub(packed, i + 2, i + 15)
  local own = string.sub(packed, i + 16, i + 27)
  local known = redis.call('HGET', bucket, id)
  local verdict = 'u'
  if known and known ~= own then
    local high, low = struct.unpack('>I4I4', known)
    if high * 4294967296 + low >= oldest and string.sub(known, 1, 8) ~= string.sub(own, 1, 8) then
      verdict = string.sub(known, 9, 12) == string.sub(own, 9, 12) and 'd' or 'c'
    end
  end
  if verdict == 'u' and known ~= own then redis.call('HSET', bucket, id, own) end
  if verdict == 'c' then firsts[#firsts + 1] = string.sub(known, 1, 8) end
  verdicts[#verdicts + 1] = verdict
end
if not mark or tonumber(mark) < last then redis.call('SET', KEYS[1], ARGV[2]) end
return {1, table.concat(verdicts), table.concat(firsts)}
"""

_RESTORE_SCRIPT = """
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local mark = redis.call('GET', KEYS[1])
if (not mark and ARGV[3] ~= '1') or (mark and tonumber(mark) < first - 1) then
  return {0, mark or ''}
end
local packed, prefix = ARGV[4], ARGV[5]
for i = 1, #packed, 28 do
  local bucket = prefix .. string.sub(packed, i, i + 1)
  local id = string.sub(packed, i + 2, i + 15)
  local own = string.sub(packed, i + 16, i + 27)
  local known = redis.call('HGET', bucket, id)
  local newer = true
  if known then
    local high, low = struct.unpack('>I4I4', known)
    local own_high, own_low = struct.unpack('>I4I4', own)
    newer = high * 4294967296 + low < own_high * 4294967296 + own_low
  end
  if newer then redis.call('HSET', bucket, id, own) end
end
if not mark or tonumber(mark) < last then redis.call('SET', KEYS[1], ARGV[2]) end
return {1, ''}
"""

# The mark first: whatever happens in between, nobody takes the rest for whole.
_FORGET_SCRIPT = """
redis.call('DEL', KEYS[1])
for bucket = 0, 65535 do
  redis.call('UNLINK', ARGV[1] .. string.char(math.floor(bucket / 256), bucket % 256))
end
return 1
"""

# HDEL takes its fields from Lua's stack, which holds some 8,000.
_SWEEP_SCRIPT = """
local prefix, oldest = ARGV[1], tonumber(ARGV[2])
local bucket, stop, left = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
while bucket < stop and left > 0 do
  local key = prefix .. string.char(math.floor(bucket / 256), bucket % 256)
  local held = redis.call('HGETALL', key)
  local stale = {}
  for i = 1, #held, 2 do
    local high, low = struct.unpack('>I4I4', held[i + 1])
    if high * 4294967296 + low < oldest then stale[#stale + 1] = held[i] end
    if #stale == 1000 or (i + 1 == #held and #stale > 0) then
      redis.call('HDEL', key, unpack(stale))
      stale = {}
    end
  end
  left = left - #held / 2
  bucket = bucket + 1
end
return bucket
"""
# Ids looked at by one sweep: about a millisecond, in which Redis answers nobody else.
SWEPT_IDS_MAX = 4_000

_VERDICTS = {ord("u"): Verdict.UNIQUE, ord("d"): Verdict.DUPLICATE, ord("c"): Verdict.CONFLICT}


class EvictingRedis(Exception):
    """This Redis may forget ids under memory pressure, and then events would count twice."""


class RedisSeenIndex:
    """See `services.dedup.index.SeenIndex`.

    `namespace` stands for the Kafka cluster: offsets mean nothing in another one's log.
    """

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._namespace = namespace
        self._claim = redis.register_script(_CLAIM_SCRIPT)
        self._restore = redis.register_script(_RESTORE_SCRIPT)
        self._forget = redis.register_script(_FORGET_SCRIPT)
        self._sweep = redis.register_script(_SWEEP_SCRIPT)

    def _prefix(self, partition: int) -> str:
        return f"{self._namespace}{{{partition}}}:"

    async def check_eviction(self) -> None:
        """Raises EvictingRedis unless the server never evicts."""
        policy = (await self._redis.info("memory")).get("maxmemory_policy")
        if policy != "noeviction":
            raise EvictingRedis(
                f"Redis has maxmemory-policy {policy}: under memory pressure it would forget ids,"
                " and events would count twice. Set maxmemory-policy noeviction and start again."
            )

    async def clear(self) -> None:
        """Forget everything in this namespace; for an index that is done with."""
        cursor = 0
        while True:
            cursor, keys = await self._redis.scan(
                cursor, match=f"{self._namespace}{{*", count=CLEAR_KEYS
            )
            async with self._redis.pipeline(transaction=False) as removal:
                for key in keys:
                    removal.unlink(key)
                await removal.execute()
            if cursor == 0:
                return

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
        prefix = self._prefix(partition)
        done, answer, *more = await self._claim(
            keys=[f"{prefix}mark"],
            args=[taken.first, taken.last, chain_start, oldest_offset, _packed(claims), prefix],
        )
        if not done:
            return Behind(int(answer) if answer else None)
        verdicts = [_VERDICTS[code] for code in answer]
        conflicts = (
            claim.offset
            for claim, verdict in zip(claims, verdicts, strict=True)
            if verdict is Verdict.CONFLICT
        )
        firsts = (first for (first,) in _OFFSET.iter_unpack(more[0]))
        return Judged(verdicts, dict(zip(conflicts, firsts, strict=True)))

    async def restore(
        self, partition: int, taken: Range, claims: Sequence[Claim], *, anew: bool
    ) -> Behind | None:
        """See SeenIndex."""
        prefix = self._prefix(partition)
        done, answer = await self._restore(
            keys=[f"{prefix}mark"],
            args=[taken.first, taken.last, int(anew), _packed(claims), prefix],
        )
        if done:
            return None
        return Behind(int(answer) if answer else None)

    async def forget(self, partition: int) -> None:
        """See SeenIndex."""
        prefix = self._prefix(partition)
        await self._forget(keys=[f"{prefix}mark"], args=[prefix])

    async def sweep(self, partition: int, buckets: range, oldest_offset: int) -> int:
        """See SeenIndex."""
        prefix = self._prefix(partition)
        reached: int = await self._sweep(
            keys=[f"{prefix}mark"],
            args=[prefix, oldest_offset, buckets.start, buckets.stop, SWEPT_IDS_MAX],
        )
        return reached


def _packed(claims: Sequence[Claim]) -> bytes:
    pack = _CLAIM.pack
    return b"".join([pack(claim.digest, claim.offset, claim.fingerprint) for claim in claims])
