-- Stands before the scripts of the budget: ARGV[2] is now in us, or '' for this server's clock.
local function number(text) return tonumber(text) or 0 end
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
