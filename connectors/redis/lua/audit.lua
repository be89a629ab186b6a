-- Append the entry of the request under way to an audit log, in the same step as the change that it tells of.
-- KEYS[#KEYS]      stream: the audit log of this slot
-- ARGV[#ARGV - 1]  the entry (JSON); '' = there is none to write
-- ARGV[#ARGV]      older entries than this (ms) are dropped
local function audit()
  local entry, oldest_ms = ARGV[#ARGV - 1], ARGV[#ARGV]
  if entry ~= '' then redis.call('XADD', KEYS[#KEYS], 'MINID', '~', oldest_ms, '*', 'entry', entry) end
end
