-- Keys: row, waiting, details, counts. Arguments: spec, then accounts. Answers 1, also where the scan was there.
if redis.call('EXISTS', KEYS[1]) == 1 then return 1 end
for i = 2, #ARGV do
  if redis.call('ZADD', KEYS[2], 0, ARGV[i]) == 1 then
    redis.call('HSET', KEYS[3], ARGV[i] .. '|g', 1)
    redis.call('HINCRBY', KEYS[4], 'accounts:waiting', 1)
  end
end
redis.call('HSET', KEYS[1], 'state', 'running', 'spec', ARGV[1])
return 1
