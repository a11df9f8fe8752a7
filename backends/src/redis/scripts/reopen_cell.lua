-- Keys: row, cells, pending, counts. Arguments: cell, the line it has, its place among the pending, the progress it gets, how
-- often it is reopened at most, and the line's outcome, calls, throttled, records, seconds. Answers 1 where it is pending now, 0
-- where it has another line or was reopened so often, or the scan is over; nothing where the scan is unknown.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
if state ~= 'running' and state ~= 'cancelling' then return 0 end
local c, o = ARGV[1], ARGV[6]
local known = redis.call('HMGET', KEYS[2], c .. '|g', c .. '|l', c .. '|r')
if not known[1] then return 0 end
if not known[2] then return 1 end
if known[2] ~= ARGV[2] or tonumber(known[3] or 0) >= tonumber(ARGV[5]) then return 0 end
redis.call('HDEL', KEYS[2], c .. '|o', c .. '|l', c .. '|t', c .. '|b')
redis.call('HSET', KEYS[2], c .. '|p', ARGV[4])
redis.call('HINCRBY', KEYS[2], c .. '|g', 1)
redis.call('HINCRBY', KEYS[2], c .. '|r', 1)
redis.call('ZADD', KEYS[3], 0, ARGV[3])
redis.call('HINCRBY', KEYS[4], 'outcome:' .. o, -1)
redis.call('HINCRBY', KEYS[4], 'calls', string.format('%.0f', 0 - ARGV[7]))
redis.call('HINCRBY', KEYS[4], 'throttled', string.format('%.0f', 0 - ARGV[8]))
redis.call('HINCRBY', KEYS[4], 'records', string.format('%.0f', 0 - ARGV[9]))
redis.call('HINCRBYFLOAT', KEYS[4], 'seconds', -ARGV[10])
return 1
