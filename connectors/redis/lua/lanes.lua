-- What the scripts that move deliveries share.
--
-- A delivery is one notification on its way to one endpoint. Its place in the zset of places is
--     <order key, 16 hex digits>:<milliseconds, 15 digits>-<number, 10 digits>:<delivery id>
-- so that those of one order key (endpoint, customer, alert, group) lie side by side, the oldest first. Only that first one, the
-- head, is in the endpoint's due zset: by the time of its next attempt, or by the end of its lease while a dispatcher has it.

local ID_FROM = 45  -- where the delivery id begins in a place

local function relane(due, lanes, endpoint)
  local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  if first[2] then redis.call('ZADD', lanes, first[2], endpoint) else redis.call('ZREM', lanes, endpoint) end
end

local function head(places, order)
  local first = redis.call('ZRANGEBYLEX', places, '[' .. order .. ':', '(' .. order .. ';', 'LIMIT', 0, 1)[1]
  if first then return string.sub(first, ID_FROM) end
end

local function followed(places, order)
  return #redis.call('ZRANGEBYLEX', places, '[' .. order .. ':', '(' .. order .. ';', 'LIMIT', 0, 2) == 2
end

local function give(due, leases, id, lease_ends)
  redis.call('ZADD', due, lease_ends, id)
  redis.call('HSET', leases, id, lease_ends)
end

local function log_attempt(attempts, record, keep, ttl)
  if record == '' then return end
  if redis.call('RPUSH', attempts, record) > tonumber(keep) then redis.call('LTRIM', attempts, -keep, -1) end
  redis.call('PEXPIRE', attempts, ttl)
end

local function log_end(log, log_at, id, status, now, delivery)
  redis.call('HSET', log, id, status .. ' ' .. now .. ' ' .. delivery)
  redis.call('ZADD', log_at, now, id)
end
