-- Keys: row, waiting, details. Arguments: account, generation. Answers the new generation, 0 where the account waits no
-- longer or the generation is stale, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local a = ARGV[1]
if not redis.call('ZSCORE', KEYS[2], a) or redis.call('HGET', KEYS[3], a .. '|g') ~= ARGV[2] then return 0 end
return redis.call('HINCRBY', KEYS[3], a .. '|g', 1)
