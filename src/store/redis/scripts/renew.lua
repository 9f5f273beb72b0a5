-- Renews a lease and keeps what its owner holds out of reach of others.
-- KEYS: lease, due of each lane. ARGV: lease ms, held until ms, members...
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
for i = 2, #KEYS do
  for j = 3, #ARGV do redis.call('ZADD', KEYS[i], 'XX', 'GT', ARGV[2], ARGV[j]) end
end
return 1
