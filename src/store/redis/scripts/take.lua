-- Takes what is due and moves it out of reach of others for a while.
-- KEYS: due of each lane asked for. ARGV: now ms, held until ms, then the limit of each lane.
-- Answer: lane number, member, ...
local taken = {}
for lane, key in ipairs(KEYS) do
  local due = redis.call('ZRANGE', key, '-inf', ARGV[1], 'BYSCORE', 'LIMIT', 0, ARGV[2 + lane])
  for _, member in ipairs(due) do
    redis.call('ZADD', key, ARGV[2], member)
    taken[#taken + 1] = lane
    taken[#taken + 1] = member
  end
end
return taken
