-- Take a partition: no other epoch can commit from now on.
-- KEYS[1]  position
-- ARGV[1]  the owner's name, for people
-- Returns the position (see position.lua).
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
redis.call('HSET', KEYS[1], 'owner', ARGV[1])
return stored_position(KEYS[1])
