-- Keys: row, cells, pending, counts. Arguments: cell, generation, its place among the pending, outcome, line, calls,
-- throttled, records, seconds. Answers 'first', 'duplicate', 'stale', or nothing where the scan is unknown. The same line
-- once more (its answer got lost) is first again: it is the one that counts.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local c = ARGV[1]
local known = redis.call('HMGET', KEYS[2], c .. '|l', c .. '|g')
if known[1] then
  if known[1] == ARGV[5] then return 'first' end
  return 'duplicate'
end
if known[2] ~= ARGV[2] then return 'stale' end
redis.call('HSET', KEYS[2], c .. '|o', ARGV[4], c .. '|l', ARGV[5])
-- A cancelled cell keeps where it stood, to go on from.
if ARGV[4] == 'cancelled' then
  redis.call('HDEL', KEYS[2], c .. '|t', c .. '|b')
else
  redis.call('HDEL', KEYS[2], c .. '|t', c .. '|b', c .. '|p')
end
redis.call('ZREM', KEYS[3], ARGV[3])
redis.call('HINCRBY', KEYS[4], 'outcome:' .. ARGV[4], 1)
for at, what in pairs({[6] = 'calls', [7] = 'throttled', [8] = 'records'}) do
  if ARGV[at] ~= '0' then redis.call('HINCRBY', KEYS[4], what, ARGV[at]) end
end
redis.call('HINCRBYFLOAT', KEYS[4], 'seconds', ARGV[9])
return 'first'
