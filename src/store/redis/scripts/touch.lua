-- Makes a resource that has a record due, in the more urgent lane and at the earlier time. The version goes up, so that
-- whoever is writing it right now finds out at the commit, and does not clear the schedule.
-- KEYS: record, members, dirty members, due of each lane. ARGV: member, lane, due ms, ledger value ('' for none)
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[2], ARGV[4]) == 1 then redis.call('SADD', KEYS[3], ARGV[4]) end
local lane, at = tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 4, #KEYS do
  local held = redis.call('ZSCORE', KEYS[i], ARGV[1])
  if held then
    if i - 3 < lane then lane = i - 3 end
    if tonumber(held) < at then at = tonumber(held) end
    redis.call('ZREM', KEYS[i], ARGV[1])
  end
end
redis.call('HINCRBY', KEYS[1], 'v', 1)
redis.call('ZADD', KEYS[3 + lane], at, ARGV[1])
return 1
