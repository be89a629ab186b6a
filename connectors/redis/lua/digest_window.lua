-- Which notifications of one alert still go to an endpoint by themselves. Asked again, the answer for one is the same.
-- KEYS[1]  hash of the open window: 'start' -> ms, id of a notification that goes by itself -> 1
-- ARGV[1]  now (ms)
-- ARGV[2]  length of a window (ms)
-- ARGV[3]  how many of a window go by themselves
-- ARGV[4]  and on: ids of notifications
-- Returns {start of the window (ms), 1 or 0 for each}.
local now, length, free = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local start = tonumber(redis.call('HGET', KEYS[1], 'start') or '-inf')
if start + length <= now or start > now + length then
  start = now
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'start', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], 2 * length)
end
local answers = {}
for i = 4, #ARGV do
  local alone = redis.call('HEXISTS', KEYS[1], ARGV[i])
  if alone == 0 and redis.call('HLEN', KEYS[1]) <= free then alone = redis.call('HSET', KEYS[1], ARGV[i], 1) end
  answers[i - 3] = alone
end
return { string.format('%.0f', start), unpack(answers) }
