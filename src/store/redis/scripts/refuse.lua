-- The target answered 429: the learnt rate is cut, once for all requests that were under way. What `Books::refuse` does.
-- KEYS: budget. ARGV: when the place was taken us, now us ('': by this server's clock)
local held = redis.call('HMGET', KEYS[1], 'rate', 'cut', 'count', 'before')
local rate = tonumber(held[1] or nil)
if rate and tonumber(ARGV[1]) <= number(held[2]) then return 0 end
local base = rate or math.max(number(held[3]), number(held[4])) * 1000
rate = math.max(math.floor(base * 7 / 10), 100)
redis.call('HSET', KEYS[1], 'rate', rate, 'step', math.max(math.floor(base / 50), 200), 'cut', now)
return 1
