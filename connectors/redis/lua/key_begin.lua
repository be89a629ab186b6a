-- Begin a request under its Idempotency-Key, or tell how an earlier one with this key stands.
-- KEYS[1]  string: the kept answer (JSON); while there is none "h|<end of the lease (ms)>|<request>|<seed>|<run>"
-- ARGV[1]  fingerprint of the request
-- ARGV[2]  a new seed of ids
-- ARGV[3]  id of this run
-- ARGV[4]  lease (ms)
-- ARGV[5]  how long the key is kept (s)
-- Returns {'answer', the kept answer}, {'other'} (it belongs to another request), {'running'}, {'first', seed}, or {'again', seed}:
-- an earlier run ended without an answer, and may have made its change.
local kept = redis.call('GET', KEYS[1]) or ''
local word, seed = 'first', ARGV[2]
if kept ~= '' then
  if string.sub(kept, 1, 2) ~= 'h|' then return { 'answer', kept } end
  local lease, request, first = string.match(kept, '^h|(%d+)|([^|]*)|([^|]*)|')
  if request ~= ARGV[1] then return { 'other' } end
  local time = redis.call('TIME')
  if tonumber(lease) > time[1] * 1000 + math.floor(time[2] / 1000) then return { 'running' } end
  word, seed = 'again', first
end
local now = redis.call('TIME')
local lease = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[4])
redis.call('SET', KEYS[1], table.concat({ 'h', lease, ARGV[1], seed, ARGV[3] }, '|'), 'EX', ARGV[5])
return { word, seed }
