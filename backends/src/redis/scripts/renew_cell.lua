-- Keys: row, cells. Arguments: cell, generation. Answers the new generation, 0 where it was stale or done, nothing where
-- the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local c = ARGV[1]
if redis.call('HGET', KEYS[2], c .. '|g') ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], c .. '|o') == 1 then return 0 end
redis.call('HDEL', KEYS[2], c .. '|b')
return redis.call('HINCRBY', KEYS[2], c .. '|g', 1)
