-- Keys: row, cells. Arguments: cell, generation, attempts or nothing. Answers the new generation, 0 where it was stale or
-- done, or where other attempts than these are counted; nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local c = ARGV[1]
if redis.call('HGET', KEYS[2], c .. '|g') ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], c .. '|o') == 1 then return 0 end
if ARGV[3] ~= '' and (redis.call('HGET', KEYS[2], c .. '|a') or '0') ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[2], c .. '|b')
return redis.call('HINCRBY', KEYS[2], c .. '|g', 1)
