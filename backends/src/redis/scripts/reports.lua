-- Keys: reports. Arguments: none, or worker, milliseconds, report. Drops what has ended, keeps the report, and answers all.
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
if #ARGV > 0 then
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', ms + tonumber(ARGV[2])) .. ' ' .. ARGV[3])
end
local all, alive = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  local till, report = string.match(all[i + 1], '^(%d+) (.*)$')
  if tonumber(till) <= ms then
    redis.call('HDEL', KEYS[1], all[i])
  else
    alive[#alive + 1] = report
  end
end
return alive
