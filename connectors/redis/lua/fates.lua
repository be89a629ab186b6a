-- Notes what became of events. KEYS[1]: zset, transaction id by the time of its note (ms); KEYS[2]: hash, transaction id -> note.
-- ARGV: now (ms), the oldest time that is kept (ms), how many are kept; then transaction id and note of each.
local now, oldest, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
for at = 4, #ARGV, 2 do
    redis.call('ZADD', KEYS[1], now, ARGV[at])
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
local function forget(ids)
    for _, id in ipairs(ids) do
        redis.call('ZREM', KEYS[1], id)
        redis.call('HDEL', KEYS[2], id)
    end
end
forget(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest, 'LIMIT', 0, 1000))
local over = redis.call('ZCARD', KEYS[1]) - most
if over > 0 then
    forget(redis.call('ZRANGE', KEYS[1], 0, math.min(over, 1000) - 1))
end
return 0
