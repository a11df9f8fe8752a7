-- Keys: row, cells, counts. Arguments: cell, the outcome it has, the one it gets, the line it gets. Answers 1 where it was
-- changed, 0 where its outcome is another, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local c = ARGV[1]
if redis.call('HGET', KEYS[2], c .. '|o') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], c .. '|o', ARGV[3], c .. '|l', ARGV[4])
redis.call('HINCRBY', KEYS[3], 'outcome:' .. ARGV[2], -1)
redis.call('HINCRBY', KEYS[3], 'outcome:' .. ARGV[3], 1)
return 1
