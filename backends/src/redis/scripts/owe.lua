-- Keys: debts. Arguments: debt. Notes by the server's clock, in seconds, that somebody is about to write what is to be told.
return redis.call('ZADD', KEYS[1], redis.call('TIME')[1], ARGV[1])
