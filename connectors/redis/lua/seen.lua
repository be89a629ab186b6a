-- Included before scripts that touch the duplicate filter: linear hashing over small hashes, in generations that expire whole.
--
-- meta hash:      'current' -> number of the generation that is filled
--                 <generation> -> "<buckets> <ids> <base offset> <ends at, ms> <expires at, ms>"
-- bucket hash:    <meta key>:<generation>:<bucket>, 12-byte id -> record offset - base offset; and the field '' as a mark, so that
--                 a bucket is never empty: Redis would drop the key, and its expiry with it.
--
-- Bucket keys are computed here and not declared in KEYS, the one exception to that rule: which buckets exist is known only from
-- the meta hash. It is safe because they share its hash tag: same slot, same node.

local call, byte, sub = redis.call, string.byte, string.sub

-- The bucket of an id that starts at byte ``at`` of ``ids``, in a table of ``buckets``, of which ``low`` (a power of two) were
-- there before the splits of this round began.
local function bucket_of(ids, at, buckets, low)
  local a, b, c, d = byte(ids, at, at + 3)
  local hash = ((a * 256 + b) * 256 + c) * 256 + d
  local bucket = hash % (low * 2)
  if bucket >= buckets then bucket = bucket - low end
  return bucket
end

-- Keys of a generation's buckets, each made when it is first asked for.
local function bucket_names(meta, number)
  local prefix = meta .. ':' .. number .. ':'
  return setmetatable({}, { __index = function(names, bucket)
    local name = prefix .. bucket
    names[bucket] = name
    return name
  end })
end

local function power_of_two_below(buckets)
  local low = 1
  while low * 2 <= buckets do low = low * 2 end
  return low
end

local function parse_generation(number, text)
  local buckets, ids, base, ends, expires = string.match(text, '^(%d+) (%d+) (%-?%d+) (%d+) (%d+)$')
  buckets = tonumber(buckets)
  return {
    number = number, buckets = buckets, low = power_of_two_below(buckets), ids = tonumber(ids), base = tonumber(base),
    ends = tonumber(ends), expires = tonumber(expires),
  }
end

local function store_generation(meta, g)
  call('HSET', meta, g.number, string.format('%.0f %.0f %.0f %.0f %.0f', g.buckets, g.ids, g.base, g.ends, g.expires))
end

-- All generations that have not expired at ``now_ms``, and the numbers of those that have.
local function generations(meta, now_ms)
  local flat, live, expired = call('HGETALL', meta), {}, {}
  for i = 1, #flat, 2 do
    if flat[i] ~= 'current' then
      local g = parse_generation(flat[i], flat[i + 1])
      if g.expires > now_ms then live[#live + 1] = g else expired[#expired + 1] = g.number end
    end
  end
  return live, expired
end

-- The 0-based positions in ``ids`` (12 bytes each) of those that some generation holds.
local function find_seen(meta, now_ms, ids)
  local found, live = {}, generations(meta, now_ms)
  for _, g in ipairs(live) do
    local name = bucket_names(meta, g.number)
    local buckets, low = g.buckets, g.low
    for at = 1, #ids, 12 do
      if call('HEXISTS', name[bucket_of(ids, at, buckets, low)], sub(ids, at, at + 11)) == 1 then
        found[#found + 1] = (at - 1) / 12
      end
    end
  end
  return found
end

local function create_bucket(key, ttl_ms)
  call('HSET', key, '', '')
  call('PEXPIRE', key, ttl_ms)
end

-- Split the next bucket of this round in two: the fields whose address changes move to a new one at the end of the table.
local function split(meta, g, ttl_ms)
  if g.buckets >= g.low * 2 then g.low = g.low * 2 end
  local name = bucket_names(meta, g.number)
  local old_key, new_key = name[g.buckets - g.low], name[g.buckets]
  g.buckets = g.buckets + 1
  create_bucket(new_key, ttl_ms)
  local flat, moved, gone = call('HGETALL', old_key), {}, {}
  for i = 1, #flat, 2 do
    if flat[i] ~= '' and bucket_of(flat[i], 1, g.buckets, g.low) == g.buckets - 1 then
      moved[#moved + 1] = flat[i]
      moved[#moved + 1] = flat[i + 1]
      gone[#gone + 1] = flat[i]
    end
  end
  for i = 1, #gone, 1000 do  -- unpack is bounded by Lua's stack
    local last = math.min(i + 999, #gone)
    call('HSET', new_key, unpack(moved, 2 * i - 1, 2 * last))
    call('HDEL', old_key, unpack(gone, i, last))
  end
end

-- The generation to fill at ``now_ms``; begins a new one where there is none, or where the last has ended.
local function current_generation(meta, now_ms, generation_ms, window_ms, base)
  local number = tonumber(call('HGET', meta, 'current') or 0)
  local text = call('HGET', meta, number)
  if text then
    local g = parse_generation(number, text)
    if now_ms < g.ends then return g end
  end
  local ends = now_ms + generation_ms
  local g = { number = number + 1, buckets = 1, low = 1, ids = 0, base = base, ends = ends, expires = ends + window_ms }
  create_bucket(meta .. ':' .. g.number .. ':0', g.expires - now_ms)
  call('HSET', meta, 'current', g.number)
  return g
end

-- Keep ``ids`` (12 bytes each) with their records' ``offsets``. The table grows before it is filled: a hash that once grew past
-- Redis' limit for compact ones would stay large for good. So there is one split for each ``per_bucket`` ids.
local function remember(meta, now_ms, generation_ms, window_ms, per_bucket, ids, offsets)
  local _, expired = generations(meta, now_ms)
  for _, number in ipairs(expired) do call('HDEL', meta, number) end
  local g = current_generation(meta, now_ms, generation_ms, window_ms, offsets[1])
  while g.buckets * per_bucket < g.ids + #offsets do split(meta, g, g.expires - now_ms) end
  g.low = power_of_two_below(g.buckets)
  local name, buckets, low, base, added = bucket_names(meta, g.number), g.buckets, g.low, g.base, 0
  for i = 1, #offsets do
    local at = i * 12 - 11
    added = added + call('HSET', name[bucket_of(ids, at, buckets, low)], sub(ids, at, at + 11), offsets[i] - base)
  end
  g.ids = g.ids + added
  store_generation(meta, g)
end
