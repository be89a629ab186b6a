-- Prolong the lease of a run under an Idempotency-Key, end it, or give the key back; nothing, where another run has it by now.
-- KEYS[1]  as in key_begin.lua
-- ARGV[1]  id of the run
-- ARGV[2]  lease (ms) from now on: 0 = the run ended without an answer; '' = the key is free again, as if it never was
-- Returns 1 or 0.
local kept = redis.call('GET', KEYS[1]) or ''
local request, seed, run = string.match(kept, '^h|%d+|([^|]*)|([^|]*)|([^|]*)$')
if run ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
local now = redis.call('TIME')
local lease = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2])
redis.call('SET', KEYS[1], table.concat({ 'h', lease, request, seed, run }, '|'), 'KEEPTTL')
return 1
