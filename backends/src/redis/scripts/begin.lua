-- Keys: row, cells, denials. Arguments: cell, generation, begun, account. Answers 'go', attempts, unfinished
-- and progress with spaces in between, else 'done', 'stale' or 'denied'; nothing where the scan is unknown.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
if state ~= 'running' then return 'stale' end
local c = ARGV[1]
local a, t = c .. '|a', c .. '|t'
local known = redis.call('HMGET', KEYS[2], c .. '|o', c .. '|g', a, t, c .. '|p')
if known[1] then return 'done' end
if known[2] ~= ARGV[2] then return 'stale' end
if redis.call('HEXISTS', KEYS[3], ARGV[4]) == 1 then return 'denied' end
local attempts, unfinished = (known[3] or 0) + 1, known[4] or 0
redis.call('HSET', KEYS[2], a, attempts, t, unfinished + 1, c .. '|b', ARGV[3])
return 'go ' .. attempts .. ' ' .. unfinished .. ' ' .. (known[5] or '')
