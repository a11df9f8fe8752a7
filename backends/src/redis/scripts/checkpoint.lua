-- Keys: row, cells. Arguments: cell, generation, progress. Answers the new generation, 0 where it was stale or done,
-- nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local c, g = ARGV[1], redis.call('HGET', KEYS[2], ARGV[1] .. '|g')
if not g or redis.call('HEXISTS', KEYS[2], c .. '|o') == 1 then return 0 end
if g ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], c .. '|p', ARGV[3])
redis.call('HDEL', KEYS[2], c .. '|t', c .. '|b')
return redis.call('HINCRBY', KEYS[2], c .. '|g', 1)
