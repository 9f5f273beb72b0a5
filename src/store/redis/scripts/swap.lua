-- Replaces a record if its version is still the expected one, with ledger entries and schedule.
-- A call repeated after a lost answer finds its own token and answers as the first one did; the token's last character
-- says whether that one gave the record another target id.
-- KEYS: record, members, dirty members, dependents, due of each lane (unless it is kept), count of active resources, generation
-- ARGV: expected version, token, record, id, member, lane (0: keep, -1: nowhere, n: that one), due ms, active (0 or 1),
--       generation under which it was loaded, then value and entry ('' removes, '1…' is dirty) for each ledger entry
if (redis.call('GET', KEYS[#KEYS]) or '0000000000000000') ~= ARGV[9] then return {-1} end
local at = redis.call('HMGET', KEYS[1], 'v', 't', 'id', 'a')
local expected = tonumber(ARGV[1])
local new_id = ARGV[4] ~= '' and ARGV[4] ~= at[3]
if at[2] == ARGV[2] .. '+' or at[2] == ARGV[2] .. '-' then
  new_id = at[2] == ARGV[2] .. '+'
elseif tonumber(at[1] or '0') ~= expected then
  return {0}
else
  local token = ARGV[2] .. (new_id and '+' or '-')
  redis.call('HSET', KEYS[1], 'v', expected + 1, 't', token, 'r', ARGV[3], 'id', ARGV[4], 'a', ARGV[8])
  if ARGV[8] ~= (at[4] or '0') then redis.call('INCRBY', KEYS[#KEYS - 1], ARGV[8] == '1' and 1 or -1) end
  for i = 10, #ARGV, 2 do
    local value, entry = ARGV[i], ARGV[i + 1]
    if entry == '' then redis.call('HDEL', KEYS[2], value) else redis.call('HSET', KEYS[2], value, entry) end
    if entry:sub(1, 1) == '1' then redis.call('SADD', KEYS[3], value) else redis.call('SREM', KEYS[3], value) end
  end
  local lane = tonumber(ARGV[6])
  if lane ~= 0 then
    for i = 5, #KEYS - 2 do
      if i - 4 == lane then redis.call('ZADD', KEYS[i], ARGV[7], ARGV[5]) else redis.call('ZREM', KEYS[i], ARGV[5]) end
    end
  end
end
local answer = {expected + 1}
if new_id then
  for _, dependent in ipairs(redis.call('SMEMBERS', KEYS[4])) do answer[#answer + 1] = dependent end
end
return answer
