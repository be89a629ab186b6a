-- Deliveries have ended, well or not: keep them in the log, and let the next ones of their order keys go.
-- KEYS[1]  zset: endpoint id by the earliest due time in its lane
-- KEYS[2]  hash: delivery id -> end of its lease (ms)
-- KEYS[3]  hash: delivery id -> delivery
-- KEYS[4]  zset: delivery id by its last change (ms), for the log
-- KEYS[5]  hash of the log
-- KEYS[6]  zset: delivery id by the time it was admitted (ms)
-- KEYS[7]  zset of places
-- KEYS[8]  outbox stream
-- KEYS[9]  zset of notices (see notice.lua)
-- KEYS[10] and on: due zsets of endpoints, and lists of attempts
-- ARGV[1]  now (ms)
-- ARGV[2]  end of the leases of the next ones (ms)
-- ARGV[3]  how many attempts of a delivery are kept
-- ARGV[4]  how long (ms)
-- ARGV[5]  MessagePack: {{id, endpoint id, its due zset's place in KEYS, that of its list of attempts, prefix of its place,
--          how it ended, the delivery, the attempt or '', how long (ms) no notice about the endpoint must have been written,
--          fields and values of the notice ...}, ...}
-- Returns for each 0 if there was no such delivery (nothing was changed for it), else 1 or the next one of its order key, leased
-- to the caller.
local now, lease_ends, keep, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local answers, touched = {}, {}

for at, each in ipairs(cmsgpack.unpack(ARGV[5])) do
  local id, endpoint, due, attempts, prefix, status, delivery, attempt, pause = unpack(each)
  local order = string.sub(prefix, 1, 16)
  due = KEYS[due]
  answers[at] = 0
  if redis.call('HDEL', KEYS[3], id) == 1 then
    redis.call('ZREM', due, id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[6], id)
    redis.call('ZREM', KEYS[7], prefix .. ':' .. id)
    log_attempt(KEYS[attempts], attempt, keep, ttl)
    log_end(KEYS[5], KEYS[4], id, status, now, delivery)
    if pause and tonumber(redis.call('ZSCORE', KEYS[9], endpoint) or '-inf') <= now - pause then
      redis.call('ZADD', KEYS[9], now, endpoint)
      redis.call('XADD', KEYS[8], '*', unpack(each, 10))
    end
    touched[endpoint] = due
    answers[at] = 1
    local follower = head(KEYS[7], order)
    -- A lease or a due time says that it was the head before: the ended one was not (its dispatcher was late).
    if follower and not redis.call('ZSCORE', due, follower) then
      give(due, KEYS[2], follower, lease_ends)
      answers[at] = redis.call('HGET', KEYS[3], follower)
    end
  end
end
for endpoint, due in pairs(touched) do relane(due, KEYS[1], endpoint) end
return answers
