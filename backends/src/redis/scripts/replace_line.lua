-- Keys: row, cells, counts. Arguments: cell, the line it has, its outcome, the line it gets, that one's outcome, and by how much
-- calls, throttled, records and seconds differ. Answers 1 where it has the new line now, 0 where it had another or the scan
-- is over, nothing where it is unknown.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
if state ~= 'running' and state ~= 'cancelling' then return 0 end
local l = ARGV[1] .. '|l'
local known = redis.call('HGET', KEYS[2], l)
if known == ARGV[4] then return 1 end
if known ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1] .. '|o', ARGV[5], l, ARGV[4])
redis.call('HINCRBY', KEYS[3], 'outcome:' .. ARGV[3], -1)
redis.call('HINCRBY', KEYS[3], 'outcome:' .. ARGV[5], 1)
redis.call('HINCRBY', KEYS[3], 'calls', ARGV[6])
redis.call('HINCRBY', KEYS[3], 'throttled', ARGV[7])
redis.call('HINCRBY', KEYS[3], 'records', ARGV[8])
redis.call('HINCRBYFLOAT', KEYS[3], 'seconds', ARGV[9])
return 1
