-- Included before scripts that read or guard a partition's position.

-- Every field of a position, in the order of connectors.redis.types.Position; false where there is none.
local function stored_position(key)
  return redis.call('HMGET', key, 'epoch', 'next_offset', 'sequence', 'revision', 'applied_revision', 'catalog_revision')
end

-- Why a write must not happen, or nil. ``offset`` is false where none may be stored.
-- The sequence is compared before the offset: each commit moves it, so it also tells apart commits that leave the offset alone.
local function refusal(position, epoch, sequence, offset, revision)
  if (tonumber(position[1]) or 0) ~= epoch then return 'epoch' end
  local stored_sequence = tonumber(position[3]) or 0
  if stored_sequence > sequence then return 'offset_ahead' end
  if stored_sequence < sequence then return 'offset_behind' end
  local stored_offset = tonumber(position[2]) or false
  if stored_offset ~= offset then
    if stored_offset and (not offset or stored_offset > offset) then return 'offset_ahead' end
    return 'offset_behind'
  end
  if (tonumber(position[4]) or 0) ~= revision then return 'revision' end
  return nil
end
