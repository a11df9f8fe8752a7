-- Keys: bucket. Arguments: microseconds between two permits, microseconds that may be taken ahead. GCRA by the server's
-- clock. Answers 0 where a permit was taken, else the microseconds until one may be asked for again.
local now = redis.call('TIME')
local us = now[1] * 1000000 + now[2]
local full = tonumber(redis.call('GET', KEYS[1]) or us)
if full < us then full = us end
local wait = full - us - tonumber(ARGV[2])
if wait > 0 then return math.ceil(wait) end
full = full + tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - us) / 1000) + 1000)
return 0
