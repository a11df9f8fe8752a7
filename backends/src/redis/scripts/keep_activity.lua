-- Keys: an account's activity, its state. Arguments: region, the version that was read, the version and the body that take its
-- place, seconds after which all of it is forgotten unless something is added. Answers 1, 0 where another was quicker, or -1
-- where the account is disconnected and nothing is kept.
if redis.call('GET', KEYS[2]) == 'disconnected' then return -1 end
local version = redis.call('HGET', KEYS[1], 'version ' .. ARGV[1]) or '0'
if version ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'version ' .. ARGV[1], ARGV[3], 'body ' .. ARGV[1], ARGV[4])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
