-- Pauses the target for all replicas. A later time holds; a pause that begins is counted.
-- KEYS: circuit. ARGV: now ms, until ms, trouble ('' for none)
local now, till = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = tonumber(redis.call('HGET', KEYS[1], 'until') or '0')
if held <= now and till > now then redis.call('HINCRBY', KEYS[1], 'pauses', 1) end
if till > held then redis.call('HSET', KEYS[1], 'until', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'trouble', ARGV[3]) end
return 1
