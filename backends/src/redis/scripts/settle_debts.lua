-- Keys: debts. Arguments: for each debt its name, the time that was read, and the time that it gets, or '' where it is struck out.
-- One that was noted anew since it was read is left. Answers how many were settled.
local settled = 0
for i = 1, #ARGV, 3 do
  local at = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if at and tonumber(at) == tonumber(ARGV[i + 1]) then
    if ARGV[i + 2] == '' then
      redis.call('ZREM', KEYS[1], ARGV[i])
    else
      redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
    end
    settled = settled + 1
  end
end
return settled
