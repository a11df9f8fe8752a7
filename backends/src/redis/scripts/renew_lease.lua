-- Keys: lease. Arguments: holder, token, milliseconds; 0 gives it back. Answers 1 where it was still held.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'holder', 'token', 'until')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or tonumber(held[3]) <= ms then return 0 end
local till = 0
if ARGV[3] ~= '0' then till = ms + tonumber(ARGV[3]) end
redis.call('HSET', KEYS[1], 'until', string.format('%.0f', till))
return 1
