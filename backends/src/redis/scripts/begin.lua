-- Keys: row, cells. Arguments: cell, generation, begun. Answers {'go', attempts, unfinished, progress}, {'done'},
-- {'stale'}, or nothing where the scan is unknown.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
if state ~= 'running' then return {'stale'} end
local c = ARGV[1]
local known = redis.call('HMGET', KEYS[2], c .. '|o', c .. '|g', c .. '|a', c .. '|t', c .. '|p')
if known[1] then return {'done'} end
if known[2] ~= ARGV[2] then return {'stale'} end
local attempts, unfinished = tonumber(known[3] or 0) + 1, tonumber(known[4] or 0)
redis.call('HSET', KEYS[2], c .. '|a', attempts, c .. '|t', unfinished + 1, c .. '|b', ARGV[3])
return {'go', attempts, unfinished, known[5] or ''}
