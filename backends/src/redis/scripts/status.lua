-- Keys: status, state, history. Arguments: status, state, change with its `from` missing. Answers the state before, '' for
-- none. Appends to the history where the state differs.
local before = redis.call('GET', KEYS[2]) or ''
redis.call('SET', KEYS[1], ARGV[1])
if before ~= ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2])
  redis.call('RPUSH', KEYS[3], before .. ' ' .. ARGV[3])
end
return before
