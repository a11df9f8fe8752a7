-- Keys: account. Arguments: account, version, 1 where it is a tombstone. Answers 1 where it was written.
local before = redis.call('HMGET', KEYS[1], 'version', 'body')
if before[1] then
  local gone = string.find(before[2], '"removed_at":', 1, true)
  if (gone and ARGV[3] ~= '1') or tonumber(before[1]) >= tonumber(ARGV[2]) then return 0 end
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'body', ARGV[1])
return 1
