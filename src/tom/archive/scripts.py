"""What Redis runs at one moment. A message's JSON begins with its seq, so that a list can be looked through cheaply."""

from typing import Final

WRITE: Final = """
local sessions, state, list, last = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
if redis.call('EXISTS', state) == 0 then redis.call('RPUSH', sessions, ARGV[1]) end
redis.call('HSET', state, 'id', ARGV[2], 'user', ARGV[3], 'memory_limit', ARGV[4], 'metadata', ARGV[5])
redis.call('HSETNX', state, 'created_at', ARGV[6])

local function push(items)
  for first = 1, #items, 1000 do
    redis.call('RPUSH', list, unpack(items, first, math.min(first + 999, #items)))
  end
end

local highest = tonumber(redis.call('GET', last) or '0')
local newest, known, fresh, behind = highest, nil, {}, false
for at = 7, #ARGV, 2 do
  local seq = tonumber(ARGV[at])
  local there = false
  if seq <= newest then
    if not known then
      known = {}
      for _, item in ipairs(redis.call('LRANGE', list, 0, -1)) do
        known[tonumber(string.match(item, '^{"seq":(%d+)')) or 0] = true
      end
      for _, pair in ipairs(fresh) do known[pair[1]] = true end
    end
    there = known[seq]
    behind = behind or not there
  end
  if not there then
    fresh[#fresh + 1] = {seq, ARGV[at + 1]}
    if known then known[seq] = true end
    newest = math.max(newest, seq)
  end
end

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
"""Writes a session's state and its messages: a list without doubles, in order of seq, and the last seq."""

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
