-- Takes places in the windows of the guard, as long as there are any. Who has one in the hour keeps it; an older one moves
-- into the hour, and counts in the day once.
-- KEYS: places. ARGV: now ms, before the hour ms, before the day ms, most in the hour, most in the day, members...
-- Answer for each member: 0 granted, 1 the hour is full, 2 the day is full
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
local hour, day = redis.call('ZCOUNT', KEYS[1], '(' .. ARGV[2], '+inf'), redis.call('ZCARD', KEYS[1])
local answer = {}
for i = 6, #ARGV do
  local held = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if held and tonumber(held) > tonumber(ARGV[2]) then answer[#answer + 1] = 0
  elseif hour >= tonumber(ARGV[4]) then answer[#answer + 1] = 1
  elseif not held and day >= tonumber(ARGV[5]) then answer[#answer + 1] = 2
  else
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
    hour = hour + 1
    if not held then day = day + 1 end
    answer[#answer + 1] = 0
  end
end
return answer
