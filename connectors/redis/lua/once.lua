-- A request's Idempotency-Key, taken by the very script that makes its change.
-- KEYS[#KEYS - 1]  string: the answer of the request that made the change under this key
-- ARGV[#ARGV - 3]  the answer to keep; '' = the request has no key, or this script is not the one that decides it
-- ARGV[#ARGV - 2]  how long it is kept (s)
local function repeated()
  if ARGV[#ARGV - 3] == '' then return nil end
  local kept = redis.call('GET', KEYS[#KEYS - 1])
  return kept and { 'repeated', kept } or nil
end
local function keep()
  if ARGV[#ARGV - 3] ~= '' then redis.call('SET', KEYS[#KEYS - 1], ARGV[#ARGV - 3], 'EX', ARGV[#ARGV - 2]) end
end
