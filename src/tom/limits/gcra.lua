-- One arrival under several keys: let it pass under all of them, or charge none.
-- KEYS: the keys. ARGV: for each key the interval in microseconds and the burst.
-- Returns the microseconds until it would pass (0: it did), and for each key those until its bucket is full.
-- A value is the moment (microseconds) at which its bucket is full.

local clock = redis.call('TIME')
-- Counted from 2025, not from 1970: a double then holds fractions of a microsecond.
local now = (clock[1] - 1735689600) * 1000000 + clock[2]
local longest = 0
local full_at = {}

for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[2 * i - 1])
  local burst = tonumber(ARGV[2 * i])
  local full = tonumber(redis.call('GET', key) or now) or now
  -- Neither a clock that was set back nor a rule that was changed makes anybody wait longer than the rule says.
  local most = now + interval * burst
  if full > most then
    full = most
    redis.call('SET', key, string.format('%.3f', full), 'PX', math.max(1, math.ceil(2 * burst * interval / 1000)))
  end
  full = math.max(full, now)
  local wait = full - now - interval * (burst - 1)
  if wait > longest then longest = wait end
  full_at[i] = full
end

local answer = {math.ceil(longest)}

for i, key in ipairs(KEYS) do
  local interval = tonumber(ARGV[2 * i - 1])
  local burst = tonumber(ARGV[2 * i])
  if longest <= 0 then
    full_at[i] = full_at[i] + interval
    redis.call('SET', key, string.format('%.3f', full_at[i]), 'PX', math.max(1, math.ceil(2 * burst * interval / 1000)))
  end
  answer[i + 1] = math.ceil(full_at[i] - now)
end
return answer
