-- Keys: events, their numbers by id, newest number, notes. Arguments: id, event, how many are kept, and perhaps a note's name
-- and text. Appends the event unless its id is known, and keeps the note.
if ARGV[4] then redis.call('HSET', KEYS[4], ARGV[4], ARGV[5]) end
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
local number = redis.call('INCR', KEYS[3])
redis.call('HSET', KEYS[1], number, ARGV[1] .. ' ' .. ARGV[2])
redis.call('HSET', KEYS[2], ARGV[1], number)
local last = string.format('%.0f', number - tonumber(ARGV[3]))
local dropped = redis.call('HGET', KEYS[1], last)
if dropped then
  redis.call('HDEL', KEYS[2], string.match(dropped, '^%S+'))
  redis.call('HDEL', KEYS[1], last)
end
return 1
