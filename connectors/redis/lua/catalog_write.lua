-- Write catalog documents and uniqueness keys under one revision, all or nothing.
-- KEYS[1]  revision
-- KEYS[2]  and on: hashes of documents and of claims, named below by their place in KEYS; the last two: the request's key (lua/once.lua), audit log
-- ARGV[1]  MessagePack array:
--   1 expected revision
--   2 sets      {{place, id, JSON}, ...}
--   3 deletes   {{place, id}, ...}
--   4 releases  {{place, key, id of the holder}, ...}
--   5 claims    {{place, key, id, JSON of the claim}, ...}
-- ARGV[2]  to [5]: the request's key and entry (lua/once.lua, audit.lua)
-- Returns {'ok', new revision}, {'stale', stored revision}, {'taken', key, id of the holder} or {'repeated', answer}.
local answered = repeated()
if answered then return answered end
local args = cmsgpack.unpack(ARGV[1])
local sets, deletes, releases, claims = args[2], args[3], args[4], args[5]
local revision = tonumber(redis.call('GET', KEYS[1]) or 0)
if revision ~= args[1] then return { 'stale', revision } end

local function holder(place, key)
  local claim = redis.call('HGET', KEYS[place], key)
  return claim and cjson.decode(claim).id
end

local freed = {}
for _, release in ipairs(releases) do
  if holder(release[1], release[2]) == release[3] then freed[release[1] .. ' ' .. release[2]] = release end
end
for _, claim in ipairs(claims) do
  local id = holder(claim[1], claim[2])
  if id and id ~= claim[3] and not freed[claim[1] .. ' ' .. claim[2]] then return { 'taken', claim[2], id } end
end

for _, release in pairs(freed) do redis.call('HDEL', KEYS[release[1]], release[2]) end
for _, claim in ipairs(claims) do redis.call('HSET', KEYS[claim[1]], claim[2], claim[4]) end
for _, delete in ipairs(deletes) do redis.call('HDEL', KEYS[delete[1]], delete[2]) end
for _, set in ipairs(sets) do redis.call('HSET', KEYS[set[1]], set[2], set[3]) end
keep()
audit()
return { 'ok', redis.call('INCR', KEYS[1]) }
