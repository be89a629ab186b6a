-- Take deliveries that are due, for the time of a lease: of each endpoint the earliest ones.
-- KEYS[1]  zset: endpoint id by the earliest due time in its lane
-- KEYS[2]  hash: delivery id -> end of its lease (ms)
-- KEYS[3]  hash: delivery id -> delivery
-- KEYS[4]  and on: due zsets of endpoints
-- ARGV[1]  now (ms)
-- ARGV[2]  end of the leases (ms): then they are due again
-- ARGV[3]  and on, in pairs as the keys: endpoint id, how many at most
-- Returns the deliveries.
local taken = {}
for i = 4, #KEYS do
  local endpoint, limit = ARGV[2 * i - 5], ARGV[2 * i - 4]
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[i], '-inf', ARGV[1], 'LIMIT', 0, limit)) do
    give(KEYS[i], KEYS[2], id, ARGV[2])
    taken[#taken + 1] = redis.call('HGET', KEYS[3], id)
  end
  relane(KEYS[i], KEYS[1], endpoint)
end
return taken
