-- Keys: row, cells, pending, counts. Arguments: cell, generation, its place among the pending, outcome, line, calls,
-- throttled, records, seconds. Answers 'first', 'duplicate', 'stale', or nothing where the scan is unknown. The same line
-- once more (its answer got lost) is first again: it is the one that counts.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local c = ARGV[1]
local done = redis.call('HGET', KEYS[2], c .. '|l')
if done then
  if done == ARGV[5] then return 'first' end
  return 'duplicate'
end
if redis.call('HGET', KEYS[2], c .. '|g') ~= ARGV[2] then return 'stale' end
redis.call('HSET', KEYS[2], c .. '|o', ARGV[4], c .. '|l', ARGV[5])
redis.call('HDEL', KEYS[2], c .. '|t', c .. '|b')
-- A cancelled cell keeps where it stood, to go on from.
if ARGV[4] ~= 'cancelled' then redis.call('HDEL', KEYS[2], c .. '|p') end
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('HINCRBY', KEYS[4], 'outcome:' .. ARGV[4], 1)
redis.call('HINCRBY', KEYS[4], 'calls', ARGV[6])
redis.call('HINCRBY', KEYS[4], 'throttled', ARGV[7])
redis.call('HINCRBY', KEYS[4], 'records', ARGV[8])
redis.call('HINCRBYFLOAT', KEYS[4], 'seconds', ARGV[9])
return 'first'
