-- Append an entry that no change goes with: of a request that was refused, or that found nothing to change.
-- KEYS, ARGV  as in audit.lua
audit()
return 1
