-- Keys: status, state, history. Arguments: status, state, change with its `from` missing, and, where it is to replace no
-- other, the status before ('' for none). Answers the state before, '' for none; nil where another status stands there.
-- Appends to the history where the state differs.
if ARGV[4] and ARGV[4] ~= (redis.call('GET', KEYS[1]) or '') then return false end
local before = redis.call('GET', KEYS[2]) or ''
redis.call('SET', KEYS[1], ARGV[1])
if before ~= ARGV[2] then
  redis.call('SET', KEYS[2], ARGV[2])
  redis.call('RPUSH', KEYS[3], before .. ' ' .. ARGV[3])
end
return before
