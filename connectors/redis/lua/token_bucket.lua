-- Take tokens from an endpoint's bucket, which all dispatchers share. (GCRA: one number, the theoretical arrival time.)
-- KEYS[1]  string: the instant (us) at which the bucket will be full again
-- ARGV[1]  us from one token to the next
-- ARGV[2]  tokens that fit into the bucket
-- ARGV[3]  tokens wanted
-- Returns {tokens taken, us until there is one}. The clock is the server's.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local step, size = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0))
local there = math.floor(size - (full - now) / step)
local taken = math.max(0, math.min(there, tonumber(ARGV[3])))
if taken == 0 then return { 0, math.max(1, full - now - (size - 1) * step) } end
full = full + taken * step
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return { taken, 0 }
