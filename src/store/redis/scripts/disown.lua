-- Gives a target resource up, if this one holds it. KEYS: owner. ARGV: resource
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
