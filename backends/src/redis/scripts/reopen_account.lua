-- Keys: row, waiting, planned, details, cells, pending, counts. Arguments: account, then for each of its cancelled cells:
-- cell, calls, throttled, records, seconds. Answers how many are pending again, nothing where the scan is unknown.
if redis.call('EXISTS', KEYS[1]) == 0 then return nil end
local a, reopened, read = ARGV[1], 0, false
for i = 2, #ARGV, 5 do
  local c = ARGV[i]
  if redis.call('HGET', KEYS[5], c .. '|o') == 'cancelled' then
    redis.call('HDEL', KEYS[5], c .. '|o', c .. '|l', c .. '|t', c .. '|b', c .. '|k')
    redis.call('HINCRBY', KEYS[5], c .. '|g', 1)
    redis.call('ZADD', KEYS[6], 0, a .. ' ' .. c)
    redis.call('HINCRBY', KEYS[7], 'outcome:cancelled', -1)
    redis.call('HINCRBY', KEYS[7], 'calls', -ARGV[i + 1])
    redis.call('HINCRBY', KEYS[7], 'throttled', -ARGV[i + 2])
    redis.call('HINCRBY', KEYS[7], 'records', -ARGV[i + 3])
    redis.call('HINCRBYFLOAT', KEYS[7], 'seconds', -ARGV[i + 4])
    reopened = reopened + 1
  end
end
-- An account that never answered had its cells guessed: it is probed anew, unless something of it was read.
if redis.call('HEXISTS', KEYS[4], a .. '|s') == 0 and redis.call('ZSCORE', KEYS[3], a) then
  local fields, cells = redis.call('HKEYS', KEYS[5]), {}
  for _, field in ipairs(fields) do
    local cell, kind = string.match(field, '^(.*)|(.)$')
    if kind == 'o' or kind == 'p' then read = true end
    if kind == 'g' then cells[#cells + 1] = cell end
  end
  if not read then
    for _, cell in ipairs(cells) do redis.call('ZREM', KEYS[6], a .. ' ' .. cell) end
    redis.call('HINCRBY', KEYS[7], 'cells', -#cells)
    redis.call('DEL', KEYS[5])
    redis.call('ZREM', KEYS[3], a)
    redis.call('ZADD', KEYS[2], 0, a)
    redis.call('HDEL', KEYS[4], a .. '|p')
    redis.call('HINCRBY', KEYS[4], a .. '|g', 1)
    redis.call('HINCRBY', KEYS[7], 'accounts:planned', -1)
    redis.call('HINCRBY', KEYS[7], 'accounts:waiting', 1)
  end
end
return reopened
