-- Keys: row, denials. Arguments: state, when. Answers the state that the scan has now, or nothing where it is unknown.
local now = redis.call('HGET', KEYS[1], 'state')
if not now then return nil end
redis.call('DEL', KEYS[2])
if ARGV[1] == 'cancelling' then
  if now == 'running' then redis.call('HSET', KEYS[1], 'state', 'cancelling') end
elseif now == 'running' or now == 'cancelling' then
  redis.call('HSET', KEYS[1], 'state', ARGV[1], 'finished', ARGV[2])
end
return redis.call('HGET', KEYS[1], 'state')
