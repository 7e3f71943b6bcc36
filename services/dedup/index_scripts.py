"""The scripts of the index in Redis. Each is atomic, and touches the keys of one partition only.

An entry's value is 8 bytes: 5 of the raw offset, 3 of the fingerprint. From raw offset 2^40 on it
has 12: 8 and 4. Scripts compare offsets as Lua numbers, exact up to 2^53.

Why whole ranges at a time: a command of a script costs about a microsecond of Redis' time however
little it does, and as much again to write to the append-only file. Two commands do for all ids.
"""

_OFFSET_OF = """
local function offset_of(value)
  if #value == 8 then
    local high, low = struct.unpack('>I4I1', value)
    return high * 256 + low
  end
  local high, low = struct.unpack('>I4I4', value)
  return high * 4294967296 + low
end
"""

# The fields of a packed string of digests and what is known of them.
_KNOWN = """
local function known_of(packed)
  local fields = {}
  for i = 1, #packed / 10 do fields[i] = string.sub(packed, i * 10 - 9, i * 10) end
  if #fields == 0 then return fields, {} end
  return fields, redis.call('HMGET', KEYS[2], unpack(fields))
end
"""

# KEYS: mark, ids. ARGV: first, last, chain start, oldest offset, digests, values, bytes of a value.
# Answers {1, places (from 0) of ids that are known, what is known of them} or {0, mark}.
CLAIM = f"""
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local mark = redis.call('GET', KEYS[1])
if first ~= tonumber(ARGV[3]) and (not mark or tonumber(mark) < first - 1) then
  return {{0, mark or ''}}
end
{_OFFSET_OF}{_KNOWN}
local oldest, values, width = tonumber(ARGV[4]), ARGV[6], tonumber(ARGV[7])
local fields, known = known_of(ARGV[5])
local fresh, filled, places, found = {{}}, 0, {{}}, {{}}
for i = 1, #fields do
  local value = known[i]
  if value and offset_of(value) >= oldest then
    places[#places + 1] = i - 1
    found[#found + 1] = value
  else
    fresh[filled + 1] = fields[i]
    fresh[filled + 2] = string.sub(values, (i - 1) * width + 1, i * width)
    filled = filled + 2
  end
end
if filled > 0 then redis.call('HSET', KEYS[2], unpack(fresh)) end
if not mark or tonumber(mark) < last then redis.call('SET', KEYS[1], ARGV[2]) end
return {{1, places, found}}
"""

# KEYS: mark, ids. ARGV: first, last, 1 if anew, digests, values, bytes of a value.
RESTORE = f"""
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2])
local mark = redis.call('GET', KEYS[1])
if (not mark and ARGV[3] ~= '1') or (mark and tonumber(mark) < first - 1) then
  return {{0, mark or ''}}
end
{_OFFSET_OF}{_KNOWN}
local values, width = ARGV[5], tonumber(ARGV[6])
local fields, known = known_of(ARGV[4])
local newer, filled = {{}}, 0
for i = 1, #fields do
  local own = string.sub(values, (i - 1) * width + 1, i * width)
  if not known[i] or offset_of(known[i]) < offset_of(own) then
    newer[filled + 1] = fields[i]
    newer[filled + 2] = own
    filled = filled + 2
  end
end
if filled > 0 then redis.call('HSET', KEYS[2], unpack(newer)) end
if not mark or tonumber(mark) < last then redis.call('SET', KEYS[1], ARGV[2]) end
return {{1, ''}}
"""

# KEYS: mark, ids. The mark first: whatever happens in between, nobody takes the rest for whole.
FORGET = """
redis.call('DEL', KEYS[1])
redis.call('UNLINK', KEYS[2])
return 1
"""

# KEYS: mark, ids. ARGV: cursor, oldest offset, ids to look at, about. A small hash is scanned in
# one go, however many are asked for; HDEL takes its fields from Lua's stack of 8,000.
SWEEP = f"""
{_OFFSET_OF}
local cursor, oldest, left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
repeat
  local page = redis.call('HSCAN', KEYS[2], cursor, 'COUNT', 500)
  local held, stale = page[2], {{}}
  cursor = page[1]
  for i = 1, #held, 2 do
    if offset_of(held[i + 1]) < oldest then stale[#stale + 1] = held[i] end
    if #stale == 1000 or (i + 1 == #held and #stale > 0) then
      redis.call('HDEL', KEYS[2], unpack(stale))
      stale = {{}}
    end
  end
  left = left - #held / 2
until cursor == '0' or left <= 0
return cursor
"""
