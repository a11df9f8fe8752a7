-- Keys: state, history. Arguments: act. Appends it, marked as one that left the state as it is; not again where it is the
-- newest entry already (its answer got lost).
local entry = '=' .. (redis.call('GET', KEYS[1]) or '') .. ' ' .. ARGV[1]
if redis.call('LINDEX', KEYS[2], -1) ~= entry then redis.call('RPUSH', KEYS[2], entry) end
