-- A delivery has ended, well or not: keep it in the log, and let the next one of its order key go.
-- KEYS[1]  due zset of the endpoint
-- KEYS[2]  zset: endpoint id by the earliest due time in its lane
-- KEYS[3]  hash: delivery id -> end of its lease (ms)
-- KEYS[4]  hash: delivery id -> delivery
-- KEYS[5]  list: attempts of this delivery
-- KEYS[6]  zset: delivery id by its last change (ms), for the log
-- KEYS[7]  hash of the log
-- KEYS[8]  zset: delivery id by the time it was admitted (ms)
-- KEYS[9]  zset of places
-- ARGV[1]  delivery id
-- ARGV[2]  endpoint id
-- ARGV[3]  prefix of its place
-- ARGV[4]  how it ended
-- ARGV[5]  the delivery
-- ARGV[6]  the attempt, or '' if none was made
-- ARGV[7]  how many attempts are kept
-- ARGV[8]  how long (ms)
-- ARGV[9]  now (ms)
-- ARGV[10] end of the lease of the next one (ms)
-- ARGV[11] 1: only if another one waits behind it
-- Returns 0 if there was no such delivery or none behind it (nothing was changed), else 1 or the next one, leased to the caller.
if ARGV[11] == '1' then
  local order = string.sub(ARGV[3], 1, 16)
  if #redis.call('ZRANGEBYLEX', KEYS[9], '[' .. order .. ':', '(' .. order .. ';', 'LIMIT', 0, 2) < 2 then return 0 end
end
if redis.call('HDEL', KEYS[4], ARGV[1]) == 0 then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[8], ARGV[1])
redis.call('ZREM', KEYS[9], ARGV[3] .. ':' .. ARGV[1])
log_attempt(KEYS[5], ARGV[6], ARGV[7], ARGV[8])
log_end(KEYS[7], KEYS[6], ARGV[1], ARGV[4], ARGV[9], ARGV[5])
local id = head(KEYS[9], string.sub(ARGV[3], 1, 16))
-- A lease or a due time says that it was the head before: the ended one was not (its dispatcher was late).
if id and not redis.call('ZSCORE', KEYS[1], id) then
  give(KEYS[1], KEYS[3], id, ARGV[10])
  relane(KEYS[1], KEYS[2], ARGV[2])
  return redis.call('HGET', KEYS[4], id)
end
relane(KEYS[1], KEYS[2], ARGV[2])
return 1
