-- The first attempts of an outbox entry are over: remove it, keep what has to be tried again.
-- KEYS[1]  outbox stream
-- KEYS[2]  zset: delivery id by due time (ms)
-- KEYS[3]  zset: delivery id by the time its notification was written (ms)
-- KEYS[4]  hash: delivery id -> delivery
-- ARGV[1]  consumer group
-- ARGV[2]  id of the entry
-- ARGV[3]  and on, in fours: delivery id, due time, time written, delivery
-- Returns 1, or 0 if the entry is not pending: it was finished before.
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end  -- the one gate: only one caller passes
redis.call('XDEL', KEYS[1], ARGV[2])
for i = 3, #ARGV, 4 do
  redis.call('ZADD', KEYS[2], ARGV[i + 1], ARGV[i])
  redis.call('ZADD', KEYS[3], ARGV[i + 2], ARGV[i])
  redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 3])
end
return 1
