-- Make a delivery again that has ended, or let one that waits go at once.
-- KEYS[1]  due zset of the endpoint
-- KEYS[2]  zset: endpoint id by the earliest due time in its lane
-- KEYS[3]  hash: delivery id -> end of its lease (ms)
-- KEYS[4]  hash: delivery id -> delivery
-- KEYS[5]  hash of the log
-- KEYS[6]  zset: delivery id by its last change (ms), for the log
-- KEYS[7]  zset: delivery id by the time it was admitted (ms)
-- KEYS[8]  zset of places
-- ARGV[1]  delivery id
-- ARGV[2]  endpoint id
-- ARGV[3]  prefix of its new place
-- ARGV[4]  the delivery
-- ARGV[5]  now (ms)
-- Returns 'resent', 'hastened' (it waited for a retry), 'under way' or 'waits' (behind an earlier one of its order key).
local lease = redis.call('HGET', KEYS[3], ARGV[1])
if lease and tonumber(lease) > tonumber(ARGV[5]) then return 'under way' end
local answer = 'waits'
if redis.call('HEXISTS', KEYS[4], ARGV[1]) == 1 then
  if redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    redis.call('ZADD', KEYS[1], ARGV[5], ARGV[1])
    answer = 'hastened'
  end
else
  redis.call('HDEL', KEYS[5], ARGV[1])
  redis.call('HSET', KEYS[4], ARGV[1], ARGV[4])
  redis.call('ZADD', KEYS[6], ARGV[5], ARGV[1])
  redis.call('ZADD', KEYS[7], ARGV[5], ARGV[1])
  redis.call('ZADD', KEYS[8], 0, ARGV[3] .. ':' .. ARGV[1])
  if head(KEYS[8], string.sub(ARGV[3], 1, 16)) == ARGV[1] then
    redis.call('ZADD', KEYS[1], ARGV[5], ARGV[1])
    answer = 'resent'
  end
end
relane(KEYS[1], KEYS[2], ARGV[2])
return answer
