-- Forget ended deliveries whose last change is too long ago. (Their attempts expire by themselves.)
-- KEYS[1]  hash of the log
-- KEYS[2]  zset: delivery id by its last change (ms)
-- KEYS[3]  hash: delivery id -> delivery that has not ended
-- KEYS[4]  zset: those that no endpoint wanted, by time (ms)
-- ARGV[1]  what changed before (ms) is forgotten
-- ARGV[2]  how many are looked at, at most
-- Returns how many were looked at.
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(old) do
  if redis.call('HEXISTS', KEYS[3], id) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[1], id)  -- it still waits: looked at again when this instant is too long ago, too
  else
    redis.call('ZREM', KEYS[2], id)
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[4], id)
  end
end
return #old
