-- Registers a dependent, and says in the same step which target id the resource has by now.
-- KEYS: dependents, record. ARGV: dependent
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('HGET', KEYS[2], 'id')
