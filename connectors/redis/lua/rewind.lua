-- Move a partition's position to an offset that its log still has (or has again). Nothing else changes.
-- KEYS[1]  position
-- ARGV[1]  MessagePack {epoch, sequence, next_offset, id of the topic that the offset is of, or '' to leave what is stored}
-- Returns {'ok', new sequence} or {reason, position}.
local args = cmsgpack.unpack(ARGV[1])
local position = stored_position(KEYS[1])
local reason = refusal(position, args[1], args[2], tonumber(position[2]) or false, tonumber(position[4]) or 0)
if reason then return { reason, position } end
redis.call('HSET', KEYS[1], 'next_offset', args[3])
if args[4] ~= '' then redis.call('HSET', KEYS[1], 'topic_id', args[4]) end
return { 'ok', redis.call('HINCRBY', KEYS[1], 'sequence', 1) }
