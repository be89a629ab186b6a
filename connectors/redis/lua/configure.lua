-- Write a customer's document and tell its partition's owner, if the document is at the expected version.
-- KEYS[1]  position
-- KEYS[2]  change stream
-- KEYS[3]  set of the partition's customers
-- KEYS[4]  the document: "<version>\n<JSON>"
-- KEYS[5]  and [6]: the request's key (lua/once.lua), audit log
-- ARGV[1]  expected version; 0 = there is none
-- ARGV[2]  JSON
-- ARGV[3]  customer id
-- ARGV[4]  to [7]: the request's key and entry (lua/once.lua, audit.lua)
-- Returns {1, the partition's new revision}, {0, the stored version} or {'repeated', answer}.
local answered = repeated()
if answered then return answered end
local version = tonumber(string.match(redis.call('GETRANGE', KEYS[4], 0, 20), '^(%d+)\n') or 0)
if version ~= tonumber(ARGV[1]) then return { 0, version } end
local revision = tonumber(redis.call('HGET', KEYS[1], 'revision') or 0) + 1
redis.call('XADD', KEYS[2], string.format('%.0f-0', revision), 'kind', 'customer', 'customer_id', ARGV[3])
redis.call('HSET', KEYS[1], 'revision', revision)
redis.call('SET', KEYS[4], string.format('%.0f\n', version + 1) .. ARGV[2])
redis.call('SADD', KEYS[3], ARGV[3])
keep()
audit()
return { 1, revision }
