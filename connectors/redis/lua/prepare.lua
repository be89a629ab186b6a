-- Answer one batch's questions.
-- KEYS[1]        position
-- KEYS[2]        meta hash of the duplicate filter
-- KEYS[3], [4]   document and state of the first customer; and so on in pairs
-- ARGV[1]        MessagePack {epoch or false (any), now_ms, ids (12 bytes each), how many fields of states to read at most}
-- Returns {position} if the epoch is another one, else
--         {position, {0-based positions of ids that were seen}, {document or nil, state as HGETALL, ...}}; the number of its fields
--         in the place of a state that is beyond that bound: it is to be read in pages
local args = cmsgpack.unpack(ARGV[1])
local epoch, now_ms, ids, room = args[1], args[2], args[3], args[4]
local position = stored_position(KEYS[1])
if epoch and (tonumber(position[1]) or 0) ~= epoch then return { position } end
local customers = {}
for i = 3, #KEYS, 2 do
  customers[i - 2] = redis.call('GET', KEYS[i])
  local fields = redis.call('HLEN', KEYS[i + 1])
  if fields <= room then
    room = room - fields
    customers[i - 1] = redis.call('HGETALL', KEYS[i + 1])
  else
    customers[i - 1] = fields
  end
end
return { position, find_seen(KEYS[2], now_ms, ids), customers }
