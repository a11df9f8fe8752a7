-- Keys: row, waiting, probed, details, counts. Arguments: account, generation, probe, source ('' for none).
-- Answers 1 where it was kept, 0 where it was stale, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local a = ARGV[1]
if not redis.call('ZSCORE', KEYS[2], a) or redis.call('HGET', KEYS[4], a .. '|g') ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], a)
redis.call('ZADD', KEYS[3], 0, a)
redis.call('HSET', KEYS[4], a .. '|p', ARGV[3])
redis.call('HINCRBY', KEYS[5], 'accounts:waiting', -1)
redis.call('HINCRBY', KEYS[5], 'accounts:probed', 1)
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[4], a .. '|s', ARGV[4])
  redis.call('HINCRBY', KEYS[5], 'source:' .. ARGV[4], 1)
end
return 1
