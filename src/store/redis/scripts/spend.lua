-- Takes a place in the budget, or says how long to wait: what `Books::spend` in core/budget.rs does, in the same integers.
-- Executed twice it answers as the first time, unless somebody else came in between: then it costs a place.
-- KEYS: budget, circuit. ARGV: token, now us ('': by this server's clock), now ms by the relay's clock ('': even while the
-- target is paused), urgent, slot, late and ahead of requests (slot 0: as learnt), slot and late of operations (slot 0: not
-- counted), operations.
-- Answer: {0 taken under a rate | 1 taken without one | 2 wait | 3 paused, when or how long in us}
if ARGV[3] ~= '' and number(redis.call('HGET', KEYS[2], 'until')) > tonumber(ARGV[3]) then return {3, 0} end
local held = redis.call('HMGET', KEYS[1], 'token', 'at', 'next', 'ops', 'urgent', 'second', 'count', 'before', 'rate', 'step', 'cut')
local at, next, operations, urgent = number(held[2]), number(held[3]), number(held[4]), number(held[5])
local rate, step, cut = tonumber(held[9] or nil), number(held[10]), number(held[11])
local fixed, slot, late, ahead = tonumber(ARGV[5]) > 0, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if not fixed and rate then slot, late, ahead = math.floor(1000000000 / rate), 10000, 0 end
if held[1] == ARGV[1] then
  if slot > 0 then return {0, at} end
  return {1, at}
end
local behind = at - now
if behind > 0 then
  next, operations, urgent, cut = next - behind, operations - behind, urgent - behind, cut - behind
  redis.call('HSET', KEYS[1], 'at', now, 'next', next, 'ops', operations, 'urgent', urgent)
  if rate then redis.call('HSET', KEYS[1], 'cut', cut) end
end
local ready = now
if slot > 0 then ready = math.max(ready, next - ahead) end
if tonumber(ARGV[8]) > 0 then ready = math.max(ready, operations) end
if ARGV[4] == '1' then
  if ready > now then redis.call('HSET', KEYS[1], 'urgent', math.max(urgent, ready + 50000)) end
else
  ready = math.max(ready, math.min(urgent, now + 5000))
end
if ready > now then return {2, ready - now} end
if ARGV[4] == '1' then urgent = 0 end
if slot > 0 then
  if not fixed and next + slot >= now then
    rate = rate + math.min(math.max(math.floor(step * slot / 1000000), 1), math.floor(rate / 10) + 1)
    redis.call('HSET', KEYS[1], 'rate', rate)
  end
  next = math.max(next, now - late) + slot
end
if tonumber(ARGV[8]) > 0 then
  operations = math.max(operations, now - tonumber(ARGV[9])) + tonumber(ARGV[8]) * tonumber(ARGV[10])
end
local second, count, before = math.floor(now / 1000000), number(held[7]), number(held[8])
if second ~= number(held[6]) then
  before = second == number(held[6]) + 1 and count or 0
  count = 0
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'at', now, 'next', next, 'ops', operations, 'urgent', urgent,
  'second', second, 'count', count + 1, 'before', before)
if slot > 0 then return {0, now} end
return {1, now}
