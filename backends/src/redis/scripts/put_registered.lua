-- Keys: account. Arguments: account, version. Answers 1 where it was written, or was there exactly so.
local before = redis.call('HMGET', KEYS[1], 'version', 'body')
if before[2] == ARGV[1] then return 1 end
if tonumber(before[1] or 0) + 1 ~= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'body', ARGV[1])
return 1
