-- Undo refs.lua for a customer whose document was never written.
-- KEYS     as in refs.lua
-- ARGV[1]  customer id
-- ARGV[2]  its note in KEYS[4], as it was when its document was missing
-- Returns 1, or 0 if its creation was finished, undone or begun again by somebody else.
if redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[4], ARGV[1])
local aliases = redis.call('HGET', KEYS[2], ARGV[1])
for _, alias in ipairs(aliases and cmsgpack.unpack(aliases) or {}) do redis.call('HDEL', KEYS[1], alias) end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return 1
