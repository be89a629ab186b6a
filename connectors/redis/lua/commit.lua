-- Write one batch, all or nothing. Lua has no rollback: everything is checked before the first write.
-- KEYS[1]  position
-- KEYS[2]  meta hash of the duplicate filter
-- KEYS[3]  change stream
-- KEYS[4]  zset: reference with parked events, by the arrival of the oldest one (ms)
-- KEYS[5]  hash: such a reference -> bytes of its parked events
-- KEYS[6]  hash: 'events', 'bytes' -> of all parked events
-- KEYS[7]  and on: the keys of the writes, named there by their place in KEYS
-- ARGV[1]  MessagePack array:
--   1 guard      {epoch, sequence, offset or false, revision}: what must be stored
--   2 next       {next_offset or false (none yet), applied_revision or false, catalog_revision or false (unchanged)}
--   3 writes     {{command, place of the key, arguments ...}, ...}, each short enough for Lua's stack
--   4 parking    {{place of the list's key, reference, how many of its oldest events to drop, change in events, in bytes}, ...}:
--                of each reference whose events are pushed (by writes) or dropped
--   5 filter     {now_ms, generation_ms, window_ms, ids per bucket, ids (12 bytes each), their offsets}
-- Returns {'ok', new sequence} or {reason, position}.
local args = cmsgpack.unpack(ARGV[1])
local guard, next_, writes, parking, filter = args[1], args[2], args[3], args[4], args[5]

local position = stored_position(KEYS[1])
local reason = refusal(position, guard[1], guard[2], guard[3], guard[4])
if reason then return { reason, position } end

local allowed = { HSET = true, HDEL = true, UNLINK = true, ZADD = true, ZREM = true, RPUSH = true, XADD = true, LTRIM = true }
for _, write in ipairs(writes) do
  if not allowed[write[1]] or not KEYS[write[2]] then return redis.error_reply('ERR malformed write in a commit') end
  write[2] = KEYS[write[2]]
end
for _, each in ipairs(parking) do
  if not KEYS[each[1]] then return redis.error_reply('ERR malformed parking in a commit') end
end
generations(KEYS[2], filter[1])  -- raises an error where the filter's meta hash makes no sense
if #filter[5] ~= 12 * #filter[6] then return redis.error_reply('ERR ids and offsets differ in number') end

for _, write in ipairs(writes) do redis.call(unpack(write)) end
for _, each in ipairs(parking) do
  local list, reference = KEYS[each[1]], each[2]
  if each[3] > 0 then redis.call('LTRIM', list, each[3], -1) end
  local oldest = redis.call('LINDEX', list, 0)
  if oldest then
    redis.call('ZADD', KEYS[4], tonumber(string.match(oldest, '^%[(%d+)')) or 0, reference)
    redis.call('HINCRBY', KEYS[5], reference, each[5])
  else
    redis.call('ZREM', KEYS[4], reference)
    redis.call('HDEL', KEYS[5], reference)
  end
  redis.call('HINCRBY', KEYS[6], 'events', each[4])
  redis.call('HINCRBY', KEYS[6], 'bytes', each[5])
end
if #parking > 0 and redis.call('EXISTS', KEYS[4]) == 0 then redis.call('UNLINK', KEYS[5], KEYS[6]) end
if #filter[6] > 0 then remember(KEYS[2], unpack(filter)) end
redis.call('HSET', KEYS[1], 'committed_at_ms', filter[1])
if next_[1] then redis.call('HSET', KEYS[1], 'next_offset', next_[1]) end
if next_[2] then
  redis.call('HSET', KEYS[1], 'applied_revision', next_[2])
  redis.call('XTRIM', KEYS[3], 'MINID', string.format('%.0f-0', next_[2] + 1))
end
if next_[3] then redis.call('HSET', KEYS[1], 'catalog_revision', next_[3]) end
return { 'ok', redis.call('HINCRBY', KEYS[1], 'sequence', 1) }
