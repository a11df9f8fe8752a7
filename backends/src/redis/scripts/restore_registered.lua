-- Keys: account. Arguments: account, version. Answers 1 where it was written: never over a tombstone or a higher version.
local before = redis.call('HMGET', KEYS[1], 'version', 'body')
if before[1] then
  if cjson.decode(before[2])['removed_at'] or tonumber(before[1]) > tonumber(ARGV[2]) then return 0 end
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'body', ARGV[1])
return 1
