-- Put a taken delivery back, if its lease still holds: after it, another dispatcher may have taken or ended it.
-- KEYS[1]  due zset of the endpoint
-- KEYS[2]  zset: endpoint id by the earliest due time in its lane
-- KEYS[3]  hash: delivery id -> end of its lease (ms)
-- KEYS[4]  hash: delivery id -> delivery
-- KEYS[5]  list: attempts of this delivery
-- KEYS[6]  zset: delivery id by its last change (ms), for the log
-- KEYS[7]  zset of places
-- ARGV[1]  delivery id
-- ARGV[2]  endpoint id
-- ARGV[3]  end of the lease (ms), as it was given
-- ARGV[4]  new due time (ms)
-- ARGV[5]  the delivery
-- ARGV[6]  the attempt, or '' if none was made
-- ARGV[7]  how many attempts are kept
-- ARGV[8]  how long (ms)
-- ARGV[9]  now (ms)
-- ARGV[10] order key, if it is put back only while no other one waits behind it, else ''
-- Returns 1; 0 if the lease was lost; 2 if another one waits behind it. With 0 and 2 nothing was changed.
if redis.call('HGET', KEYS[3], ARGV[1]) ~= ARGV[3] then return 0 end
if ARGV[10] ~= '' and followed(KEYS[7], ARGV[10]) then return 2 end
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[4], ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], ARGV[5])
relane(KEYS[1], KEYS[2], ARGV[2])
if ARGV[6] ~= '' then redis.call('ZADD', KEYS[6], ARGV[9], ARGV[1]) end
log_attempt(KEYS[5], ARGV[6], ARGV[7], ARGV[8])
return 1
