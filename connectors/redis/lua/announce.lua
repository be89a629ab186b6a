-- Put a change on a partition's stream and move its revision. A catalog revision is announced once.
-- KEYS[1]  position
-- KEYS[2]  change stream
-- KEYS[3]  and [4], where a request asks for the change: its key (lua/once.lua), audit log
-- ARGV[1]  catalog revision, or '' where the change is not of the catalog
-- ARGV[2]  how many fields and values the change has
-- ARGV[3]  and on: these; then, with KEYS[4], the request's key and entry (lua/once.lua, audit.lua)
-- Returns the partition's revision, or {'repeated', answer}.
local asked = #KEYS == 4
local answered = asked and repeated()
if answered then return answered end
local revision = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0)
if ARGV[1] ~= '' then
  if tonumber(redis.call('HGET', KEYS[1], 'announced_catalog') or 0) >= tonumber(ARGV[1]) then return revision end
end
revision = revision + 1
redis.call('XADD', KEYS[2], string.format('%.0f-0', revision), unpack(ARGV, 3, 2 + tonumber(ARGV[2])))  -- first: it checks that the id is above the last
redis.call('HSET', KEYS[1], 'revision', revision)
if ARGV[1] ~= '' then redis.call('HSET', KEYS[1], 'announced_catalog', ARGV[1]) end
if asked then
  keep()
  audit()
end
return revision
