-- Keys: row, waiting, probed, details, counts. Arguments: account, generation. Answers the new generation, 0 where the account's
-- probe did not fail or the generation is stale, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local a = ARGV[1]
if not redis.call('ZSCORE', KEYS[3], a) or redis.call('HGET', KEYS[4], a .. '|g') ~= ARGV[2] then return 0 end
-- One that let us in has a source of its regions.
if redis.call('HEXISTS', KEYS[4], a .. '|s') == 1 then return 0 end
redis.call('ZREM', KEYS[3], a)
redis.call('ZADD', KEYS[2], 0, a)
redis.call('HDEL', KEYS[4], a .. '|p')
redis.call('HINCRBY', KEYS[5], 'accounts:probed', -1)
redis.call('HINCRBY', KEYS[5], 'accounts:waiting', 1)
return redis.call('HINCRBY', KEYS[4], a .. '|g', 1)
