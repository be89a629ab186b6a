-- Take deliveries that are due, for the time of a lease.
-- KEYS[1]  zset: delivery id by due time (ms)
-- KEYS[2]  hash: delivery id -> delivery
-- ARGV[1]  now (ms)
-- ARGV[2]  how many at most
-- ARGV[3]  end of the lease (ms): then they are due again
-- Returns the deliveries.
local taken = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', KEYS[1], ARGV[3], id)
  taken[#taken + 1] = redis.call('HGET', KEYS[2], id)
end
return taken
