-- Renews a lease and keeps what its owner holds out of reach of others; what was put into the schedule meanwhile stays due.
-- KEYS: lease, due of each lane, generation. ARGV: generation, lease ms, held until ms, held at least until ms so far, members...
-- Answer: -1 for another generation
if (redis.call('GET', KEYS[#KEYS]) or '0000000000000000') ~= ARGV[1] then return -1 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[2])
for i = 2, #KEYS - 1 do
  for j = 5, #ARGV do
    local at = redis.call('ZSCORE', KEYS[i], ARGV[j])
    if at and tonumber(at) >= tonumber(ARGV[4]) then redis.call('ZADD', KEYS[i], 'XX', 'GT', ARGV[3], ARGV[j]) end
  end
end
return 1
