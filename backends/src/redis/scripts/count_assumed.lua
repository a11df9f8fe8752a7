-- Keys: row, counts. Arguments: calls. Counts for a scan that is known.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('HINCRBY', KEYS[2], 'assumed', ARGV[1])
