-- Move notifications from the outbox stream to the endpoints' lanes, in the order of the stream and each exactly once.
-- KEYS[1]  outbox stream
-- KEYS[2]  zset: endpoint id by the earliest due time in its lane
-- KEYS[3]  hash: delivery id -> end of its lease (ms)
-- KEYS[4]  hash: delivery id -> delivery
-- KEYS[5]  zset: delivery id by the time it was admitted (ms)
-- KEYS[6]  zset of places
-- KEYS[7]  hash of the log
-- KEYS[8]  zset: delivery id by its last change (ms), for the log
-- KEYS[9]  zset: id of a notification that no endpoint wanted, as it is in the log, by time (ms)
-- KEYS[10] and on: due zsets of endpoints, then lists of what is held for digests
-- ARGV[1]  now (ms)
-- ARGV[2]  end of leases that are given (ms)
-- ARGV[3]  how long such a list is kept (ms)
-- ARGV[4]  MessagePack: {{entry id, {{id, its due zset's place in KEYS, endpoint id, place's prefix, due time (ms), lease it,
--          supersede, delivery, place of the list that it is held in, or false}, ...}, {id, delivery} if no endpoint wants it, or
--          false}, ...}
-- ARGV[5]  how many that no endpoint wanted are kept: the latest ones
-- An entry is moved only if it is the first of the stream: where another dispatcher was faster, nothing is left to do.
-- Returns {how many entries were moved, ids of the deliveries that were leased, how many were superseded}.
local now, lease_ends = ARGV[1], ARGV[2]
local moved, leased, superseded = 0, {}, 0

local function under_way(id)
  local lease = redis.call('HGET', KEYS[3], id)
  return lease and tonumber(lease) > tonumber(now)
end

local AT_ONCE = 500  -- of what has piled up before; the next one of its kind goes on with the rest

local function supersede(due, order)
  for _, place in ipairs(redis.call('ZRANGEBYLEX', KEYS[6], '[' .. order .. ':', '(' .. order .. ';', 'LIMIT', 0, AT_ONCE)) do
    local id = string.sub(place, ID_FROM)
    if not under_way(id) then
      log_end(KEYS[7], KEYS[8], id, 'superseded', now, redis.call('HGET', KEYS[4], id))
      redis.call('ZREM', KEYS[6], place)
      redis.call('ZREM', due, id)
      redis.call('HDEL', KEYS[3], id)
      redis.call('HDEL', KEYS[4], id)
      redis.call('ZREM', KEYS[5], id)
      superseded = superseded + 1
    end
  end
end

local touched = {}
for _, entry in ipairs(cmsgpack.unpack(ARGV[4])) do
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not first or first[1] ~= entry[1] then break end
  redis.call('XDEL', KEYS[1], entry[1])
  moved = moved + 1
  if entry[3] then
    log_end(KEYS[7], KEYS[8], entry[3][1], 'unwanted', now, entry[3][2])
    redis.call('ZADD', KEYS[9], now, entry[3][1])
  end
  for _, each in ipairs(entry[2]) do
    local id, due, endpoint, prefix = each[1], KEYS[each[2]], each[3], each[4]
    local order = string.sub(prefix, 1, 16)
    if redis.call('HEXISTS', KEYS[4], id) == 0 then  -- a replay may write a notification again that is on its way already
      if each[7] then supersede(due, order) end
      redis.call('HSET', KEYS[4], id, each[8])
      redis.call('ZADD', KEYS[5], now, id)
      redis.call('ZADD', KEYS[6], 0, prefix .. ':' .. id)
      redis.call('ZADD', KEYS[8], now, id)
      if each[9] then
        redis.call('RPUSH', KEYS[each[9]], id)
        redis.call('PEXPIRE', KEYS[each[9]], ARGV[3])
      end
      if head(KEYS[6], order) == id then
        if each[6] then
          give(due, KEYS[3], id, lease_ends)
          leased[#leased + 1] = id
        else
          redis.call('ZADD', due, each[5], id)
        end
      end
      touched[endpoint] = due
    end
  end
end
local over = redis.call('ZCARD', KEYS[9]) - tonumber(ARGV[5])
if over > 0 then
  local oldest = redis.call('ZPOPMIN', KEYS[9], math.min(over, AT_ONCE))
  for at = 1, #oldest, 2 do
    redis.call('HDEL', KEYS[7], oldest[at])
    redis.call('ZREM', KEYS[8], oldest[at])
  end
end
for endpoint, due in pairs(touched) do relane(due, KEYS[2], endpoint) end
return { moved, leased, superseded }
