-- Replaces a record if its version is still the expected one, with ledger entries and schedule.
-- A call repeated after a lost answer finds its own token and answers as the first one did.
-- KEYS: record, members, dirty members, dependents, due of each lane
-- ARGV: expected version, token, record, id, member, lane (0: keep, -1: nowhere, n: that one), due ms,
--       then value, entry ('' removes), dirty (0 or 1) for each ledger entry
local at = redis.call('HMGET', KEYS[1], 'v', 't', 'id')
local version = tonumber(at[1] or '0')
if version ~= tonumber(ARGV[1]) then
  if at[2] ~= ARGV[2] then return {0} end
else
  version = version + 1
  redis.call('HSET', KEYS[1], 'v', version, 't', ARGV[2], 'r', ARGV[3], 'id', ARGV[4])
  for i = 8, #ARGV, 3 do
    if ARGV[i + 1] == '' then redis.call('HDEL', KEYS[2], ARGV[i]) else redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
    if ARGV[i + 2] == '1' then redis.call('SADD', KEYS[3], ARGV[i]) else redis.call('SREM', KEYS[3], ARGV[i]) end
  end
  local lane = tonumber(ARGV[6])
  if lane ~= 0 then
    for i = 5, #KEYS do
      if i - 4 == lane then redis.call('ZADD', KEYS[i], ARGV[7], ARGV[5]) else redis.call('ZREM', KEYS[i], ARGV[5]) end
    end
  end
end
local answer = {version}
if ARGV[4] ~= '' and ARGV[4] ~= (at[3] or '') then
  for _, dependent in ipairs(redis.call('SMEMBERS', KEYS[4])) do answer[#answer + 1] = dependent end
end
return answer
