-- Write a notice into the outbox, once.
-- KEYS[1]  outbox stream
-- KEYS[2]  zset: id of a notice by the time it was written (ms)
-- ARGV[1]  its id
-- ARGV[2]  id of a notice that must have been written before, or ''
-- ARGV[3]  now (ms)
-- ARGV[4]  what was written before (ms) is forgotten
-- ARGV[5]  and on: the entry's fields and values
-- Returns 1, or 0 where nothing was written.
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[4])
if ARGV[2] ~= '' and not redis.call('ZSCORE', KEYS[2], ARGV[2]) then return 0 end
if redis.call('ZADD', KEYS[2], 'NX', ARGV[3], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', unpack(ARGV, 5))
return 1
