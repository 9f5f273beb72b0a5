-- Makes a resource that has a record due, in the more urgent lane and at the earlier time. The version goes up, so that
-- whoever is writing it right now finds out at the commit, and does not clear the schedule.
-- Executed twice the version goes up twice, and somebody loads once more than necessary.
-- KEYS: record, members, dirty members, due of each lane. ARGV: member, lane, due ms,
--       whether a ledger entry is dirty again (0: none, 1: it is, 2: and doubtful; not one that is dead, 'x…'), and its value
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if ARGV[4] ~= '0' then
  local entry = redis.call('HGET', KEYS[2], ARGV[5])
  if entry and entry:sub(1, 1) ~= 'x' then
    local mark = entry:sub(1, 1) == '2' and '2' or ARGV[4]
    redis.call('HSET', KEYS[2], ARGV[5], mark .. entry:sub(2))
    redis.call('SADD', KEYS[3], ARGV[5])
  end
end
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
