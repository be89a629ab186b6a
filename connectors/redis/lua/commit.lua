-- Write one batch, all or nothing. Lua has no rollback: everything is checked before the first write.
-- KEYS[1]  position
-- KEYS[2]  meta hash of the duplicate filter
-- KEYS[3]  change stream
-- KEYS[4]  zset of parked references
-- KEYS[5]  and on: the keys of the writes, named there by their place in KEYS
-- ARGV[1]  MessagePack array:
--   1 guard      {epoch, sequence, offset or false, revision}: what must be stored
--   2 next       {next_offset or false (none yet), applied_revision or false, catalog_revision or false (unchanged)}
--   3 writes     {{command, place of the key, arguments ...}, ...}, each short enough for Lua's stack
--   4 unparked   {{place of the list's key, reference, how many to drop}, ...}
--   5 filter     {now_ms, generation_ms, window_ms, ids per bucket, ids (12 bytes each), their offsets}
-- Returns {'ok', new sequence} or {reason, position}.
local args = cmsgpack.unpack(ARGV[1])
local guard, next_, writes, unparked, filter = args[1], args[2], args[3], args[4], args[5]

local position = stored_position(KEYS[1])
local reason = refusal(position, guard[1], guard[2], guard[3], guard[4])
if reason then return { reason, position } end

local allowed = { HSET = true, HDEL = true, DEL = true, ZADD = true, ZREM = true, RPUSH = true, XADD = true, LTRIM = true }
for _, write in ipairs(writes) do
  if not allowed[write[1]] or not KEYS[write[2]] then return redis.error_reply('ERR malformed write in a commit') end
  write[2] = KEYS[write[2]]
end
for _, drop in ipairs(unparked) do
  if not KEYS[drop[1]] then return redis.error_reply('ERR malformed drop in a commit') end
end
generations(KEYS[2], filter[1])  -- raises an error where the filter's meta hash makes no sense
if #filter[5] ~= 12 * #filter[6] then return redis.error_reply('ERR ids and offsets differ in number') end

for _, write in ipairs(writes) do redis.call(unpack(write)) end
for _, drop in ipairs(unparked) do
  redis.call('LTRIM', KEYS[drop[1]], drop[3], -1)
  if redis.call('EXISTS', KEYS[drop[1]]) == 0 then redis.call('ZREM', KEYS[4], drop[2]) end
end
if #filter[6] > 0 then remember(KEYS[2], unpack(filter)) end
redis.call('HSET', KEYS[1], 'committed_at_ms', filter[1])
if next_[1] then redis.call('HSET', KEYS[1], 'next_offset', next_[1]) end
if next_[2] then
  redis.call('HSET', KEYS[1], 'applied_revision', next_[2])
  redis.call('XTRIM', KEYS[3], 'MINID', string.format('%.0f-0', next_[2] + 1))
end
if next_[3] then redis.call('HSET', KEYS[1], 'catalog_revision', next_[3]) end
return { 'ok', redis.call('HINCRBY', KEYS[1], 'sequence', 1) }
