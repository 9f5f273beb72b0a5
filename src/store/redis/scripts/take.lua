-- Takes what is due, first lanes first, and moves it out of reach of others for a while.
-- KEYS: due of each lane asked for. ARGV: now ms, held until ms, limit. Answer: lane number, member, ...
local taken, left = {}, tonumber(ARGV[3])
for lane, key in ipairs(KEYS) do
  if left <= 0 then break end
  local due = redis.call('ZRANGEBYSCORE', key, '-inf', ARGV[1], 'LIMIT', 0, left)
  for _, member in ipairs(due) do
    redis.call('ZADD', key, ARGV[2], member)
    taken[#taken + 1] = lane
    taken[#taken + 1] = member
  end
  left = left - #due
end
return taken
