-- Keys: lease. Arguments: holder, milliseconds. Answers {token, until} or nothing where another holds it.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until')
local alive = held[3] and tonumber(held[3]) > ms
if alive and held[1] ~= ARGV[1] then return nil end
local token = tonumber(held[2] or 0)
if not (alive and held[1] == ARGV[1]) then token = token + 1 end
local till = ms + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', string.format('%.0f', token), 'until', string.format('%.0f', till))
return {token, till}
