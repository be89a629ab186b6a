-- Write or remove an endpoint's document, if it is what the caller has seen, and move the endpoints' revision.
-- KEYS[1]  hash: endpoint id -> document
-- KEYS[2]  string: the endpoints' revision, which no two states of the hash share
-- KEYS[3]  hash: endpoint id -> since when every attempt has failed (ms)
-- KEYS[4]  and [5]: the request's key (lua/once.lua), audit log
-- ARGV[1]  endpoint id
-- ARGV[2]  the document that is expected; '' = whatever is there, also none
-- ARGV[3]  the new document; '' = remove
-- ARGV[4]  to [7]: the request's key and entry (lua/once.lua, audit.lua)
-- Returns 1, {'repeated', answer}, or 0 where another document is stored, or none was to be removed: nothing was changed.
local answered = repeated()
if answered then return answered end
local stored = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] ~= '' and stored ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
else
  if not stored then return 0 end
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[3], ARGV[1])
end
local time = redis.call('TIME')  -- a count would begin again in an emptied server
local revision = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[2]) or 0) + 1)
redis.call('SET', KEYS[2], string.format('%.0f', revision))
keep()
audit()
return 1
