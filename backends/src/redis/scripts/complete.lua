-- Keys: row, cells, pending, counts. Arguments: cell, generation, its place among the pending, outcome, line, calls,
-- throttled, records, seconds. Answers 'first', 'duplicate', or 'stale', also where the scan is unknown: then so is the cell.
-- The same line once more (its answer got lost) is first again: it is the one that counts.
local c, o = ARGV[1], ARGV[4]
local l = c .. '|l'
local known = redis.call('HMGET', KEYS[2], l, c .. '|g')
if known[1] then
  if known[1] == ARGV[5] then return 'first' end
  return 'duplicate'
end
if known[2] ~= ARGV[2] then return 'stale' end
redis.call('HSET', KEYS[2], c .. '|o', o, l, ARGV[5])
-- A cancelled cell keeps where it stood, to go on from.
if o == 'cancelled' then
  redis.call('HDEL', KEYS[2], c .. '|t', c .. '|b')
else
  redis.call('HDEL', KEYS[2], c .. '|t', c .. '|b', c .. '|p')
end
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('HINCRBY', KEYS[4], 'outcome:' .. o, 1)
if ARGV[6] ~= '0' then redis.call('HINCRBY', KEYS[4], 'calls', ARGV[6]) end
if ARGV[7] ~= '0' then redis.call('HINCRBY', KEYS[4], 'throttled', ARGV[7]) end
if ARGV[8] ~= '0' then redis.call('HINCRBY', KEYS[4], 'records', ARGV[8]) end
if ARGV[9] ~= '0' then redis.call('HINCRBYFLOAT', KEYS[4], 'seconds', ARGV[9]) end
return 'first'
