-- Keys: row, cells. Arguments: cell, generation, begun. Answers {'go', attempts, unfinished, progress}, {'done'},
-- {'stale'}, or nothing where the scan is unknown.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
if state ~= 'running' then return {'stale'} end
local c = ARGV[1]
if redis.call('HEXISTS', KEYS[2], c .. '|o') == 1 then return {'done'} end
if redis.call('HGET', KEYS[2], c .. '|g') ~= ARGV[2] then return {'stale'} end
local attempts = redis.call('HINCRBY', KEYS[2], c .. '|a', 1)
local tries = redis.call('HINCRBY', KEYS[2], c .. '|t', 1)
redis.call('HSET', KEYS[2], c .. '|b', ARGV[3])
return {'go', attempts, tries - 1, redis.call('HGET', KEYS[2], c .. '|p') or ''}
