-- Keys: row, waiting, planned, details, cells, pending, counts. Arguments: account, then for each of its cancelled cells:
-- cell, calls, throttled, records, seconds. Answers how many are pending again, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local a, reopened, read = ARGV[1], 0, false
for i = 2, #ARGV, 5 do
  local c = ARGV[i]
  if redis.call('HGET', KEYS[5], c .. '|o') == 'cancelled' then
    redis.call('HDEL', KEYS[5], c .. '|o', c .. '|l', c .. '|t', c .. '|b')
    redis.call('HINCRBY', KEYS[5], c .. '|g', 1)
    redis.call('ZADD', KEYS[6], 0, a .. ' ' .. c)
    redis.call('HINCRBY', KEYS[7], 'outcome:cancelled', -1)
    redis.call('HINCRBY', KEYS[7], 'calls', string.format('%.0f', 0 - ARGV[i + 1]))
    redis.call('HINCRBY', KEYS[7], 'throttled', string.format('%.0f', 0 - ARGV[i + 2]))
    redis.call('HINCRBY', KEYS[7], 'records', string.format('%.0f', 0 - ARGV[i + 3]))
    redis.call('HINCRBYFLOAT', KEYS[7], 'seconds', -ARGV[i + 4])
    reopened = reopened + 1
  end
end
-- Cells that were all cancelled, and of which nothing was ever read, may have been guessed: the account is probed anew.
if reopened > 0 and redis.call('ZSCORE', KEYS[3], a) then
  local fields, cells = redis.call('HKEYS', KEYS[5]), {}
  for _, field in ipairs(fields) do
    local cell, kind = string.match(field, '^(.*)|(.)$')
    if kind == 'o' or kind == 'p' then read = true end
    if kind == 'g' then cells[#cells + 1] = cell end
  end
  if not read and #cells == reopened then
    local source = redis.call('HGET', KEYS[4], a .. '|s')
    if source then redis.call('HINCRBY', KEYS[7], 'source:' .. source, -1) end
    for _, cell in ipairs(cells) do redis.call('ZREM', KEYS[6], a .. ' ' .. cell) end
    redis.call('HINCRBY', KEYS[7], 'cells', -#cells)
    redis.call('DEL', KEYS[5])
    redis.call('ZREM', KEYS[3], a)
    redis.call('ZADD', KEYS[2], 0, a)
    redis.call('HDEL', KEYS[4], a .. '|p', a .. '|s')
    redis.call('HINCRBY', KEYS[4], a .. '|g', 1)
    redis.call('HINCRBY', KEYS[7], 'accounts:planned', -1)
    redis.call('HINCRBY', KEYS[7], 'accounts:waiting', 1)
  end
end
return reopened
