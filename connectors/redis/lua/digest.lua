-- Make a digest of deliveries that were held, unless somebody else was faster.
-- KEYS[1]  hash of the window's digests: '#' -> how many there are, delivery id -> number of its digest, from 0
-- KEYS[2]  due zset of the endpoint
-- KEYS[3]  zset: endpoint id by the earliest due time in its lane
-- KEYS[4]  hash: delivery id -> delivery
-- KEYS[5]  zset: delivery id by its last change (ms), for the log
-- KEYS[6]  zset: delivery id by the time it was admitted (ms)
-- KEYS[7]  zset of places
-- ARGV[1]  number of the digest
-- ARGV[2]  its delivery id
-- ARGV[3]  endpoint id
-- ARGV[4]  prefix of its place
-- ARGV[5]  the delivery
-- ARGV[6]  now (ms)
-- ARGV[7]  how long the window is remembered (ms)
-- ARGV[8]  MessagePack array: ids of the deliveries in it
-- Returns 1, or 0 where nothing was changed.
if (redis.call('HGET', KEYS[1], '#') or '0') ~= ARGV[1] then return 0 end
local members = cmsgpack.unpack(ARGV[8])
for _, id in ipairs(members) do
  if redis.call('HEXISTS', KEYS[1], id) == 1 then return 0 end
end
redis.call('HINCRBY', KEYS[1], '#', 1)
for _, id in ipairs(members) do redis.call('HSET', KEYS[1], id, ARGV[1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[7])
redis.call('HSET', KEYS[4], ARGV[2], ARGV[5])
redis.call('ZADD', KEYS[5], ARGV[6], ARGV[2])
redis.call('ZADD', KEYS[6], ARGV[6], ARGV[2])
redis.call('ZADD', KEYS[7], 0, ARGV[4] .. ':' .. ARGV[2])
if head(KEYS[7], string.sub(ARGV[4], 1, 16)) == ARGV[2] then redis.call('ZADD', KEYS[2], ARGV[6], ARGV[2]) end
relane(KEYS[2], KEYS[3], ARGV[3])
return 1
