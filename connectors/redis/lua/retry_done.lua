-- Remove a delivery.
-- KEYS[1]  zset: delivery id by due time (ms)
-- KEYS[2]  zset: delivery id by the time its notification was written (ms)
-- KEYS[3]  hash: delivery id -> delivery
-- ARGV[1]  delivery id
-- Returns 1, or 0 if there was none.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
