-- Keys: hastened. Arguments: how many at most. Answers the accounts, which are then no longer kept.
local taken = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)
if #taken > 0 then redis.call('ZREM', KEYS[1], unpack(taken)) end
return taken
