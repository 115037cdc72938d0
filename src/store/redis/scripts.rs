//! The scripts: what must be one step on the server.
//!
//! Each names all its keys in `KEYS`, and the keys of one script share a slot. Those that end sessions carry
//! `allow-oom`: a full server must still be able to end a session. They are sent in full each time (`EVAL`): the
//! server keeps them compiled by their hash, and a server that restarted needs no loading first.

/// Since when there is data. Key: the birth. Answers it: what was written first, by whichever gateway.
pub(super) const BIRTH: &str = r"#!lua flags=allow-oom
local birth = redis.call('GET', KEYS[1])
if birth then return birth end
local time = redis.call('TIME')
birth = time[1] .. '.' .. time[2]
redis.call('SET', KEYS[1], birth)
return birth
";

/// The commands that the user may not call, of all that the store uses. Key: the probe's. On a server that cannot say,
/// none.
pub(super) const MISSING_RIGHTS: &str = r"#!lua flags=no-writes,allow-oom
if not redis.acl_check_cmd then return {} end
local key = KEYS[1]
local used = {
  {'TIME'}, {'GET', key}, {'SET', key, '1'}, {'EXISTS', key}, {'UNLINK', key}, {'PEXPIREAT', key, '1'},
  {'PEXPIRETIME', key}, {'ZADD', key, '1', 'm'}, {'ZREM', key, 'm'}, {'ZRANGE', key, '0', '1'}, {'ZSCAN', key, '0'},
  {'ZCARD', key}, {'ZSCORE', key, 'm'}, {'MULTI'}, {'EXEC'},
  {'HGET', key, 'f'}, {'HSET', key, 'f', '1'}, {'HLEN', key}, {'HDEL', key, 'f'}, {'HGETALL', key},
  {'XADD', key, '*', 'f', '1'}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'}
}
local missing = {}
for _, words in ipairs(used) do
  if not redis.acl_check_cmd(unpack(words)) then missing[#missing + 1] = string.lower(words[1]) end
end
return missing
";

/// Ends one session. Keys: touch key, reason. Arguments: the reason, until when it is kept (ms), the absolute deadline
/// (µs). Answers 1 to the one caller that ended it.
///
/// The touch key decides: only one caller can unlink it, and nothing but the making of a session ever sets it. So the
/// record may stay, and tell whose session it was: a touch in flight finds no touch key to move. Should an old copy of
/// the touch key ever come back with a restored server, the reason beside it still says that the session is over. An
/// end that is written down for later comes now, and was counted then.
pub(super) const END: &str = r"#!lua flags=allow-oom
if redis.call('UNLINK', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000000 + tonumber(time[2]) >= tonumber(ARGV[3]) then return 0 end
local noted = redis.pcall('SET', KEYS[2], ARGV[1], 'NX', 'PXAT', ARGV[2])
if noted == false then
  local reason = string.match(redis.call('GET', KEYS[2]), '^(.+)@')
  if reason then redis.call('SET', KEYS[2], reason, 'PXAT', ARGV[2]) end
  return 0
end
return 1
";

/// Has a live session end later. Keys: touch key, reason. Arguments: the reason, after how long (µs), until when it is
/// kept (ms). Answers 1 unless it is over, or is to end already.
pub(super) const END_LATER: &str = r"#!lua
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local time = redis.call('TIME')
local at = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]) + tonumber(ARGV[2]))
redis.call('SET', KEYS[2], ARGV[1] .. '@' .. at, 'PXAT', ARGV[3])
return 1
";

/// Takes back a session that must not come to be. Keys: touch key, record. Answers 1 unless somebody else ended it
/// first.
pub(super) const DISCARD: &str = r"#!lua flags=allow-oom
local ours = redis.call('UNLINK', KEYS[1])
redis.call('UNLINK', KEYS[2])
return ours
";

/// Ends a session of which nothing can be read. Keys: touch key, reason, record. Arguments: the reason, how long it is kept
/// (ms) where the record does not say. Answers 1 if there was one.
///
/// The record goes, so that the reason alone is found.
pub(super) const END_UNREADABLE: &str = r"#!lua flags=allow-oom
local found = redis.call('EXISTS', KEYS[1], KEYS[3])
local kept = redis.call('PEXPIRETIME', KEYS[3])
redis.call('UNLINK', KEYS[1], KEYS[3])
if found == 0 then return 0 end
local time = redis.call('TIME')
if kept < 0 then kept = tonumber(time[1]) * 1000 + tonumber(ARGV[2]) end
redis.call('SET', KEYS[2], ARGV[1], 'PXAT', string.format('%.0f', kept))
return 1
";

/// Notes why a session ended by time. Keys: record, reason. Arguments: the reason, until when it is kept (ms). Answers
/// 1 to the first.
pub(super) const NOTE_END: &str = r"#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PXAT', ARGV[2]) == false then return 0 end
return 1
";

/// Holds a live session to lower limits. Keys: record, touch key, reason. Arguments: the record, until when it is kept
/// (ms), the touch deadline (ms). Answers 1 if the session was still there.
pub(super) const TIGHTEN: &str = r"#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
if redis.call('SET', KEYS[1], ARGV[1], 'XX', 'PXAT', ARGV[2]) == false then return 0 end
redis.call('PEXPIREAT', KEYS[2], ARGV[3])
return 1
";

/// The next moment in the order of logins and revocations. Key: the last one. Arguments: by how much it is to be later at
/// least (µs), and a moment that it must not be before. Answers it.
///
/// It is the server's time, unless that is earlier than the last one: a clock that was set back.
pub(super) const ORDER: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
local order = string.format('%.0f', math.max(now, last + tonumber(ARGV[1]), tonumber(ARGV[2])))
redis.call('SET', KEYS[1], order)
return order
";

/// Raises a user's generation. Key: the user's standing. Arguments: the session that is to stay (or nothing) and the
/// generation that it was made under; the moment of the revocation. Answers the new standing.
///
/// The session stays exempt only if it is not over already: if its generation is the current one, or it was exempt
/// before. A standing that cannot be read is replaced like an absent one, and exempts nobody: the new generation
/// differs from it, which is all that ends the sessions made under it.
pub(super) const RAISE_USER: &str = r"#!lua flags=allow-oom
local now = tonumber(ARGV[3])
local text = redis.call('GET', KEYS[1]) or '0'
local old, exempt = string.match(text, '^(%d+)$'), ''
if not old then old, exempt = string.match(text, '^(%d+)( [%w_-]+ %d+)$') end
local new = string.format('%.0f', math.max(now, (tonumber(old) or 0) + 1))
local kept = ' ' .. ARGV[1] .. ' ' .. ARGV[2]
if old and ARGV[1] ~= '' and (ARGV[2] == old or kept == exempt) then new = new .. kept end
redis.call('SET', KEYS[1], new)
return new
";

/// Raises a tenant's generation, and changes its status where one is given. Keys: the tenant's standing, its note.
/// Arguments: the status (or nothing), the note without its time, the moment of it. Answers the new standing, and 0 if it
/// stays as it was.
///
/// A standing that cannot be read may have been anything: only a new status mends it. The note says when the last word
/// about the status was, also where that stayed active.
pub(super) const RAISE_TENANT: &str = r"#!lua flags=allow-oom
local now = tonumber(ARGV[3])
local text = redis.call('GET', KEYS[1]) or '0'
local old, status = string.match(text, '^(%d+)$'), 'active'
if not old then old, status = string.match(text, '^(%d+) (%a+)$') end
if ARGV[1] == '' and not old then return redis.error_reply('UNREADABLE the standing of the tenant: set its status') end
if ARGV[1] == 'active' and old and status == 'active' then
  redis.call('SET', KEYS[2], string.format('%.0f', now) .. ' ' .. ARGV[2])
  return {text, 0}
end
if ARGV[1] ~= '' then status = ARGV[1] end
local new = string.format('%.0f', math.max(now, (tonumber(old) or 0) + 1))
text = new
if status ~= 'active' then text = new .. ' ' .. status end
redis.call('SET', KEYS[1], text)
if ARGV[1] ~= '' then redis.call('SET', KEYS[2], new .. ' ' .. ARGV[2]) end
return {text, 1}
";

/// Raises a user's generation to what it was, unless it is that or newer. Key: the user's standing. Arguments: the
/// generation, the standing (or nothing: then nobody is exempt). Answers the standing now.
pub(super) const RAISE_USER_AGAIN: &str = r"#!lua flags=allow-oom
local text = redis.call('GET', KEYS[1]) or '0'
local old = string.match(text, '^%d+')
if old and tonumber(old) >= tonumber(ARGV[1]) then return text end
local new = ARGV[1]
if ARGV[2] ~= '' then new = ARGV[2] end
redis.call('SET', KEYS[1], new)
return new
";

/// The same for a tenant. Keys: the tenant's standing, its note. Arguments: the generation, the standing (or nothing: then
/// the status stays as it is), the status that it was to get (or nothing), the note without its time. Answers the standing
/// now.
pub(super) const RAISE_TENANT_AGAIN: &str = r"#!lua flags=allow-oom
local text = redis.call('GET', KEYS[1]) or '0'
local old, status = string.match(text, '^(%d+)( ?%a*)$')
if old and tonumber(old) >= tonumber(ARGV[1]) then return text end
local new = ARGV[2]
if new == '' then new = ARGV[1] .. (status or ' suspended') end
redis.call('SET', KEYS[1], new)
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[4]) end
return new
";

/// Changes a tenant's status late, unless that was changed since. Keys: the tenant's standing, its note. Arguments: the time
/// of the call, the status, the note without its time, from when on another word counts. Answers the standing now, and 1;
/// 2 if it was so already; 0 if another word counts.
///
/// Whoever is shut out loses all sessions: the generation is raised above any that there is.
pub(super) const CHANGE_TENANT_LATE: &str = r"#!lua flags=allow-oom
local text = redis.call('GET', KEYS[1]) or '0'
local old, status = string.match(text, '^(%d+)$'), 'active'
if not old then old, status = string.match(text, '^(%d+) (%a+)$') end
local said, note = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (.*)$')
if old and status == ARGV[2] and (status == 'active' or note == ARGV[3]) then return {text, 2} end
if said and tonumber(said) >= tonumber(ARGV[4]) then return {text, 0} end
text = string.format('%.0f', math.max(tonumber(ARGV[1]), (tonumber(old) or 0) + 1))
if ARGV[2] ~= 'active' then text = text .. ' ' .. ARGV[2] end
redis.call('SET', KEYS[1], text)
redis.call('SET', KEYS[2], ARGV[1] .. ' ' .. ARGV[3])
return {text, 1}
";

/// Makes a tenant known. Keys: the tenants by deadline, the tenants by name. Arguments: the tenant, until when it is
/// known (ms, or `+inf`), now (ms). Drops some that no longer are.
pub(super) const KNOW: &str = r"#!lua flags=allow-oom
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
redis.call('ZADD', KEYS[2], 0, ARGV[1])
local gone = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[3], 'BYSCORE', 'LIMIT', 0, 64)
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('ZREM', KEYS[2], unpack(gone))
end
return 1
";

/// Some entries of an index, in the order of score and session, after a place in it that need not exist any more. Key:
/// the index. Arguments: the place's score, its session (or nothing), how many. Answers sessions and scores in turn.
///
/// Finds the place by halving: entries with one and the same score may be many. Compares bytes, as the server orders
/// them; the script language's own comparison follows the server's locale.
pub(super) const PAGE: &str = r"#!lua flags=no-writes
local score, id = tonumber(ARGV[1]), ARGV[2]
local function is_after(rank)
  local entry = redis.call('ZRANGE', KEYS[1], rank, rank, 'WITHSCORES')
  local other = tonumber(entry[2])
  if other ~= score then return other > score end
  for i = 1, math.min(#entry[1], #id) do
    local one, two = string.byte(entry[1], i), string.byte(id, i)
    if one ~= two then return one > two end
  end
  return #entry[1] > #id
end
local low, high = 0, redis.call('ZCARD', KEYS[1])
while low < high do
  local middle = math.floor((low + high) / 2)
  if is_after(middle) then high = middle else low = middle + 1 end
end
return redis.call('ZRANGE', KEYS[1], low, low + tonumber(ARGV[3]) - 1, 'WITHSCORES')
";

/// Reserves a place for a session in its user's index, where that leaves no more than may be. Key: the index. Arguments:
/// the session, how many may be, until when the place is reserved (ms), now (ms), then three lists, each preceded by its
/// length: entries of sessions that are over, entries that do not count because they are about to end, and reserved
/// places to take away. Answers 1 if the place is reserved; else nothing of the last list was taken.
///
/// What came in since the caller looked counts, and so does a place whose session has been stored since.
pub(super) const RESERVE: &str = r"#!lua
local key, at = KEYS[1], 5
local function list()
  local entries, length = {}, tonumber(ARGV[at])
  for i = 1, length do entries[i] = ARGV[at + i] end
  at = at + length + 1
  return entries
end
local over, ending, taken = list(), list(), list()
for _, entry in ipairs(over) do redis.call('ZREM', key, entry) end
local expired = redis.call('ZRANGE', key, '-inf', '(' .. ARGV[4], 'BYSCORE', 'LIMIT', 0, 64)
if #expired > 0 then redis.call('ZREM', key, unpack(expired)) end
local count = redis.call('ZCARD', key)
for _, entry in ipairs(ending) do
  if redis.call('ZSCORE', key, entry) then count = count - 1 end
end
local free = {}
for _, entry in ipairs(taken) do
  local until_then = redis.call('ZSCORE', key, entry)
  if until_then and tonumber(until_then) <= tonumber(ARGV[3]) then
    count = count - 1
    free[#free + 1] = entry
  end
end
if count >= tonumber(ARGV[2]) then return 0 end
for _, entry in ipairs(free) do redis.call('ZREM', key, entry) end
redis.call('ZADD', key, ARGV[3], ARGV[1])
if redis.call('PEXPIRETIME', key) < tonumber(ARGV[3]) then redis.call('PEXPIREAT', key, ARGV[3]) end
return 1
";

/// Gives a reserved place its session's absolute deadline. Key: the index. Arguments: the session, the deadline (ms).
/// Answers 0 if the place was taken away.
pub(super) const TAKE_PLACE: &str = r"#!lua flags=allow-oom
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if redis.call('PEXPIRETIME', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
return 1
";

/// Adds a session to an index. Key: the index. Arguments: the session, its absolute deadline (ms), now (ms).
///
/// Drops some of what has expired, so that a busy index stays small at a bounded cost, and lets the index itself
/// expire with its last session.
pub(super) const INDEX: &str = r"#!lua
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local expired = redis.call('ZRANGE', KEYS[1], '-inf', '(' .. ARGV[3], 'BYSCORE', 'LIMIT', 0, 64)
if #expired > 0 then redis.call('ZREM', KEYS[1], unpack(expired)) end
if redis.call('PEXPIRETIME', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
return 1
";
