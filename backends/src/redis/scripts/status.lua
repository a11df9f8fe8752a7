-- Keys: status, state, history, untold. Arguments: status, state, change with its `from` missing, an event's id ('' where
-- nobody is told of this state), and, where it is to replace no other, the status before ('' for none). Appends to the
-- history where the state differs, and to what is still to be told. Answers the state before ('' for none), and how much
-- is to be told of the account; nil where another status stands there.
if ARGV[5] and ARGV[5] ~= (redis.call('GET', KEYS[1]) or '') then return false end
local before = redis.call('GET', KEYS[2]) or ''
redis.call('SET', KEYS[1], ARGV[1])
if before ~= ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2])
  redis.call('RPUSH', KEYS[3], before .. ' ' .. ARGV[3])
  if ARGV[4] ~= '' then redis.call('RPUSH', KEYS[4], ARGV[4] .. ' ' .. before .. ' ' .. ARGV[1]) end
end
return {before, redis.call('LLEN', KEYS[4])}
