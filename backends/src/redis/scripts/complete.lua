-- Keys: pending, counts, then for each cell its account's cells. Arguments, for each cell: cell, generation, its place
-- among the pending, outcome, line, calls, throttled, records, seconds. Answers for each 'first', 'duplicate', or 'stale',
-- also where the scan is unknown: then so is the cell.
-- The same line once more (its answer got lost) is first again: it is the one that counts.
local counts, order, places = {}, {}, {}
local function count(what, n)
  if n == 0 then return end
  if not counts[what] then order[#order + 1] = what end
  counts[what] = (counts[what] or 0) + n
end
local function complete(cells, n)
  local c, o, line = ARGV[n + 1], ARGV[n + 4], ARGV[n + 5]
  local l = c .. '|l'
  local known = redis.call('HMGET', cells, l, c .. '|g', c .. '|p')
  if known[1] then
    if known[1] == line then return 'first' end
    return 'duplicate'
  end
  if known[2] ~= ARGV[n + 2] then return 'stale' end
  redis.call('HSET', cells, c .. '|o', o, l, line)
  -- A cancelled cell keeps where it stood, to go on from.
  if known[3] and o ~= 'cancelled' then
    redis.call('HDEL', cells, c .. '|t', c .. '|b', c .. '|p')
  else
    redis.call('HDEL', cells, c .. '|t', c .. '|b')
  end
  places[#places + 1] = ARGV[n + 3]
  count('outcome:' .. o, 1)
  count('calls', tonumber(ARGV[n + 6]))
  count('throttled', tonumber(ARGV[n + 7]))
  count('records', tonumber(ARGV[n + 8]))
  count('seconds', tonumber(ARGV[n + 9]))
  return 'first'
end
local answers = {}
for i = 3, #KEYS do answers[i - 2] = complete(KEYS[i], (i - 3) * 9) end
-- At most 256 cells come together, far below what unpack bears.
if #places > 0 then redis.call('ZREM', KEYS[1], unpack(places)) end
for _, what in ipairs(order) do
  if what == 'seconds' then
    redis.call('HINCRBYFLOAT', KEYS[2], what, string.format('%.17g', counts[what]))
  else
    redis.call('HINCRBY', KEYS[2], what, string.format('%.0f', counts[what]))
  end
end
return answers
