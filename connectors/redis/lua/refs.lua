-- Take a customer's references: its id (at its creation) and its ingest aliases, which replace those it had. All or nothing.
-- KEYS[1]  hash: reference -> customer id
-- KEYS[2]  hash: customer id -> its aliases (MessagePack)
-- KEYS[3]  zset: customer ids by time of creation
-- KEYS[4]  hash: customer id -> {now_ms, references to be announced} (MessagePack), until that is done
-- KEYS[#KEYS]  audit log
-- ARGV[1]  MessagePack {customer id, aliases, now_ms, whether the customer is created now}
-- ARGV     the last two: the request's entry (lua/audit.lua); a creation's goes with its document
-- Returns {'ok', references to be announced} or {'taken', reference, its customer}.
local args = cmsgpack.unpack(ARGV[1])
local id, aliases, now_ms, create = args[1], args[2], args[3], args[4]
local holder = create and redis.call('HGET', KEYS[1], id)
local unfinished = redis.call('HEXISTS', KEYS[4], id) == 1  -- an earlier run of the same request took its id, and died
if holder and not (holder == id and unfinished) then return { 'taken', id, holder } end
local wanted = {}
for _, alias in ipairs(aliases) do
  local owner = redis.call('HGET', KEYS[1], alias)
  if owner and owner ~= id then return { 'taken', alias, owner } end
  wanted[alias] = true
end

local changed = {}
local unannounced = redis.call('HGET', KEYS[4], id)
if unannounced then changed = cmsgpack.unpack(unannounced)[2] end
local before = redis.call('HGET', KEYS[2], id)
for _, alias in ipairs(before and cmsgpack.unpack(before) or {}) do
  if not wanted[alias] then
    if alias ~= id then redis.call('HDEL', KEYS[1], alias) end
    changed[#changed + 1] = alias
  end
end
if create then
  redis.call('HSET', KEYS[1], id, id)
  redis.call('ZADD', KEYS[3], now_ms, id)
  changed[#changed + 1] = id
end
for _, alias in ipairs(aliases) do
  if redis.call('HSET', KEYS[1], alias, id) == 1 then changed[#changed + 1] = alias end
end
redis.call('HSET', KEYS[2], id, cmsgpack.pack(aliases))
redis.call('HSET', KEYS[4], id, cmsgpack.pack({ now_ms, changed }))
if not create then audit() end
return { 'ok', changed }
