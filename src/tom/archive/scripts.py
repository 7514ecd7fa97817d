"""What Redis runs at one moment. A message's JSON begins with its seq, so that a list can be looked through cheaply."""

from typing import Final

WRITE: Final = """
local sessions, state, list, last = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

local function push(items)
  for first = 1, #items, 1000 do
    redis.call('RPUSH', list, unpack(items, first, math.min(first + 999, #items)))
  end
end

local function run_of(item)
  local ok, message = pcall(cjson.decode, item)
  local about = ok and type(message) == 'table' and message.metadata
  return type(about) == 'table' and type(about.run_id) == 'string' and about.run_id or ''
end

local function stored_at(item)
  return string.match(item, ',"stored_at":"([^"]*)"') or ''
end

local highest = tonumber(redis.call('GET', last) or '0')
local newest, known, fresh, changed, behind = highest, nil, {}, {}, false
for at = 7, #ARGV, 2 do
  local seq, item = tonumber(ARGV[at]), ARGV[at + 1]
  local there = nil
  if seq <= newest then
    if not known then
      known = {}
      for place, old in ipairs(redis.call('LRANGE', list, 0, -1)) do
        known[tonumber(string.match(old, '^{"seq":(%d+)')) or 0] = {place, old}
      end
      for _, pair in ipairs(fresh) do known[pair[1]] = {0, pair[2]} end
    end
    there = known[seq]
    behind = behind or not there
  end
  if not there then
    fresh[#fresh + 1] = {seq, item}
    if known then known[seq] = {0, item} end
    newest = math.max(newest, seq)
  elseif there[1] > 0 then
    local run = run_of(there[2])
    if run ~= '' and run ~= run_of(item) then return -1 end
    local moment = ',"stored_at":"' .. stored_at(there[2]) .. '"'
    local as_it_was = string.gsub(item, ',"stored_at":"[^"]*"', function () return moment end, 1)
    if as_it_was ~= there[2] then changed[#changed + 1] = {there[1], as_it_was} end
  end
end

if redis.call('EXISTS', state) == 0 then redis.call('RPUSH', sessions, ARGV[1]) end
redis.call('HSET', state, 'id', ARGV[2], 'user', ARGV[3], 'memory_limit', ARGV[4], 'metadata', ARGV[5],
  'created_at', ARGV[6])
for _, pair in ipairs(changed) do redis.call('LSET', list, pair[1] - 1, pair[2]) end
if behind then
  for at, item in ipairs(redis.call('LRANGE', list, 0, -1)) do
    fresh[#fresh + 1] = {tonumber(string.match(item, '^{"seq":(%d+)')) or 0, item}
  end
  table.sort(fresh, function (one, other) return one[1] < other[1] end)
  redis.call('DEL', list)
end
local items = {}
for at, pair in ipairs(fresh) do items[at] = pair[2] end
push(items)
if newest > highest then redis.call('SET', last, string.format('%.0f', newest)) end
return #items
"""
"""Writes a session's state and its messages: a list without doubles, in order of seq, and the last seq.

-1 and nothing written, where another run's message has the place of one."""

ERASE: Final = """
local sessions, state, list, last = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
for _, item in ipairs(redis.call('LRANGE', sessions, 0, -1)) do
  local ok, session = pcall(cjson.decode, item)
  if ok and type(session) == 'table' and session.id == ARGV[1] and session.user == ARGV[2] then
    redis.call('LREM', sessions, 0, item)
  end
end
return redis.call('DEL', state, list, last)
"""
"""Removes a session."""

CUT: Final = """
local list, before = KEYS[1], tonumber(ARGV[1])
while true do
  local item = redis.call('LINDEX', list, 0)
  if not item or (tonumber(string.match(item, '^{"seq":(%d+)')) or 0) >= before then break end
  redis.call('LPOP', list)
end
return 0
"""
"""Removes a session's messages of a smaller seq."""
