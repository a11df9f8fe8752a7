-- Keys: row, probed, planned, cells, pending, counts. Arguments: account, then its cells as `region service`.
-- Answers 1 where they were stored, 0 where the account is not a probed one, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local a = ARGV[1]
if redis.call('ZREM', KEYS[2], a) == 0 then return 0 end
redis.call('ZADD', KEYS[3], 0, a)
redis.call('HINCRBY', KEYS[6], 'accounts:probed', -1)
redis.call('HINCRBY', KEYS[6], 'accounts:planned', 1)
-- What has a long value once is a table for good: as the list that small hashes are kept in, each look at a cell would go
-- through all of them.
redis.call('HSET', KEYS[4], '', string.rep(' ', 100))
redis.call('HDEL', KEYS[4], '')
local stored = 0
for i = 2, #ARGV do
  if redis.call('HSETNX', KEYS[4], ARGV[i] .. '|g', 1) == 1 then
    redis.call('ZADD', KEYS[5], 0, a .. ' ' .. ARGV[i])
    stored = stored + 1
  end
end
redis.call('HINCRBY', KEYS[6], 'cells', stored)
return 1
