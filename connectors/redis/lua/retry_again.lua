-- Put a taken delivery back, if its lease still holds: after it, another dispatcher may have taken or ended it.
-- KEYS[1]  zset: delivery id by due time (ms)
-- KEYS[2]  hash: delivery id -> delivery
-- ARGV[1]  delivery id
-- ARGV[2]  end of the lease (ms), as due.lua set it
-- ARGV[3]  new due time (ms)
-- ARGV[4]  the delivery
-- Returns 1 or 0.
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or -1) ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
return 1
