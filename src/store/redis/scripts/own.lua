-- Claims a target resource unless somebody else holds it. KEYS: owner. ARGV: resource. Answer: who holds it now.
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
