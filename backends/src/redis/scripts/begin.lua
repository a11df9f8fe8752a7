-- Keys: row, denials, then for each cell its account's cells. Arguments, for each cell: cell, generation, begun, account.
-- Answers for each: 'go', attempts, unfinished and progress with spaces in between, else 'done', 'stale' or 'denied';
-- nothing where the scan is unknown.
local state = redis.call('HGET', KEYS[1], 'state')
local function begin(cells, c, g, begun, account)
  if not state then return false end
  if state ~= 'running' then return 'stale' end
  local a, t = c .. '|a', c .. '|t'
  local known = redis.call('HMGET', cells, c .. '|o', c .. '|g', a, t, c .. '|p')
  if known[1] then return 'done' end
  if known[2] ~= g then return 'stale' end
  if redis.call('HEXISTS', KEYS[2], account) == 1 then return 'denied' end
  local attempts, unfinished = (known[3] or 0) + 1, known[4] or 0
  redis.call('HSET', cells, a, attempts, t, unfinished + 1, c .. '|b', begun)
  return 'go ' .. attempts .. ' ' .. unfinished .. ' ' .. (known[5] or '')
end
local answers = {}
for i = 3, #KEYS do
  local n = (i - 3) * 4
  answers[i - 2] = begin(KEYS[i], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3], ARGV[n + 4])
end
return answers
