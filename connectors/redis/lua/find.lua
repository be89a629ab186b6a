-- Where records with these transaction ids may be in the log.
-- KEYS[1]  meta hash of the duplicate filter
-- ARGV[1]  first 4 bytes of each transaction id's hash, one after the other
-- Returns for each a list of offsets.
local prefixes, answer = ARGV[1], {}
local live = generations(KEYS[1], 0)
for at = 1, #prefixes, 4 do
  local prefix, offsets = string.sub(prefixes, at, at + 3), {}
  for _, g in ipairs(live) do
    local bucket = redis.call('HGETALL', KEYS[1] .. ':' .. g.number .. ':' .. bucket_of(prefixes, at, g.buckets, g.low))
    for i = 1, #bucket, 2 do
      if string.sub(bucket[i], 1, 4) == prefix then offsets[#offsets + 1] = tonumber(bucket[i + 1]) + g.base end
    end
  end
  answer[#answer + 1] = offsets
end
return answer
