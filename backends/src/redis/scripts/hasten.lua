-- Keys: row, hastened, waiting, probed, planned. Arguments: accounts. Keeps those that the running scan has.
local state = redis.call('HGET', KEYS[1], 'state')
if not state then return nil end
if state ~= 'running' then return 0 end
for _, a in ipairs(ARGV) do
  if redis.call('ZSCORE', KEYS[3], a) or redis.call('ZSCORE', KEYS[4], a) or redis.call('ZSCORE', KEYS[5], a) then
    redis.call('ZADD', KEYS[2], 0, a)
  end
end
return 1
