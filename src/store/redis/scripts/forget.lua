-- Drops all that is kept about a resource. A second call finds nothing to drop.
-- KEYS: record, members, dirty members, dependents, due of each lane, count of active resources, all resources
-- ARGV: member
if redis.call('HGET', KEYS[1], 'a') == '1' then redis.call('DECR', KEYS[#KEYS - 1]) end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
for i = 5, #KEYS - 2 do redis.call('ZREM', KEYS[i], ARGV[1]) end
redis.call('SREM', KEYS[#KEYS], ARGV[1])
return 1
