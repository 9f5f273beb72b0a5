-- Renews a lease and keeps what its owner holds out of reach of others; what was put into the schedule meanwhile stays due.
-- KEYS: lease, due of each lane. ARGV: lease ms, held until ms, held at least until ms so far, members...
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
for i = 2, #KEYS do
  for j = 4, #ARGV do
    local at = redis.call('ZSCORE', KEYS[i], ARGV[j])
    if at and tonumber(at) >= tonumber(ARGV[3]) then redis.call('ZADD', KEYS[i], 'XX', 'GT', ARGV[2], ARGV[j]) end
  end
end
return 1
