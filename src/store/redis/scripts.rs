//! The scripts: what must be one step on the server.
//!
//! Each names all its keys in `KEYS`, and the keys of one script share a slot; what a login, a use or a logout runs has one
//! key. Those that end sessions carry `allow-oom`: a full server must still be able to end a session. They are sent in full each time (`EVAL`): the
//! server keeps them compiled by their hash, and a server that restarted needs no loading first.

/// Since when there is data. Key: the birth. Argument: for how long (ms) that is kept, if not for good. Answers it: what was
/// written first, by whichever gateway.
pub(super) const BIRTH: &str = r"#!lua flags=allow-oom
local birth = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
if not birth then
  birth = time[1] .. '.' .. time[2]
  redis.call('SET', KEYS[1], birth)
end
if ARGV[1] then redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', time[1] * 1000 + ARGV[1])) end
return birth
";

/// Says which app has sessions here, and for how long (ms) from now on. Key: the apps. Arguments: the app, how long, and `1`
/// where it may be beside another. Answers the name of another that is in the way; `+` and the name of one that it is
/// beside; else nothing.
pub(super) const CLAIM: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local apps = redis.call('ZRANGE', KEYS[1], '0', '-1', 'WITHSCORES')
local own, beside = now + ARGV[2], ''
for at = 1, #apps, 2 do
  local app, over = apps[at], tonumber(apps[at + 1])
  if app == ARGV[1] then
    own = math.max(own, over)
  elseif over <= now then
    redis.call('ZREM', KEYS[1], app)
  elseif ARGV[3] ~= '1' then
    return app
  else
    beside = '+' .. app
  end
end
redis.call('ZADD', KEYS[1], string.format('%.0f', own), ARGV[1])
return beside
";

/// The commands that the user may not call, of all that the store uses. Key: the probe's. On a server that cannot say,
/// none.
pub(super) const MISSING_RIGHTS: &str = r"#!lua flags=no-writes,allow-oom
if not redis.acl_check_cmd then return {} end
local key = KEYS[1]
local used = {
  {'TIME'}, {'GET', key}, {'GETDEL', key}, {'SET', key, '1'}, {'EXISTS', key}, {'UNLINK', key}, {'PEXPIREAT', key, '1'},
  {'PEXPIRETIME', key}, {'ZADD', key, '1', 'm'}, {'ZREM', key, 'm'}, {'ZRANGE', key, '0', '1'}, {'ZSCAN', key, '0'},
  {'ZCARD', key}, {'ZSCORE', key, 'm'},
  {'HGET', key, 'f'}, {'HSET', key, 'f', '1'}, {'HLEN', key}, {'HDEL', key, 'f'}, {'HGETALL', key},
  {'XADD', key, '*', 'f', '1'}, {'XRANGE', key, '-', '+'}, {'XREVRANGE', key, '+', '-'}
}
local missing = {}
for _, words in ipairs(used) do
  if not redis.acl_check_cmd(unpack(words)) then missing[#missing + 1] = string.lower(words[1]) end
end
return missing
";

/// Ends a session, with all its tokens. Key: the reason of the first of its line. Arguments: the reason, until when it is
/// kept (ms). Answers 1 to the one caller that ended it.
///
/// What is written here decides who ended a session, and thus who counts it. That a token alone was replaced is no end.
pub(super) const END: &str = r"#!lua flags=allow-oom
local kept = redis.call('GET', KEYS[1])
if kept and not string.find(kept, '@', 1, true) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return 1
";

/// Writes down an end that gives way to any other. Key: the reason. Arguments: the reason, until when it is kept (ms).
/// Answers 1 to the first.
pub(super) const NOTE: &str = r"#!lua flags=allow-oom
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PXAT', ARGV[2]) == false then return 0 end
return 1
";

/// Takes the rest of its moment from a token that was replaced. Key: the reason. Arguments: the text that says so.
pub(super) const CUT_SHORT: &str = r"#!lua flags=allow-oom
local kept = redis.call('GET', KEYS[1])
if not kept or not string.find(kept, '@', 1, true) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'KEEPTTL')
return 1
";

/// Ends a session of which nothing can be read. Keys: reason, record. Arguments: the reason, how long it is kept (ms) where
/// the record does not say. Answers 1 if there was one.
///
/// The record goes, so that the reason alone is found.
pub(super) const END_UNREADABLE: &str = r"#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local kept = redis.call('PEXPIRETIME', KEYS[2])
local time = redis.call('TIME')
if kept < 0 then kept = tonumber(time[1]) * 1000 + tonumber(ARGV[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', string.format('%.0f', kept))
redis.call('UNLINK', KEYS[2])
return 1
";

/// Sees to it that a session never comes to be, also if it is stored only now. Key: the record. Arguments: what stands for
/// none, for how long (ms).
pub(super) const BURY: &str = r"#!lua flags=allow-oom
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Holds a live session to lower limits. Keys: record, reason, news. Arguments: the record, until when it is kept (ms), for
/// how long that is beyond the touch deadline (ms). Answers 1 if the session was still there.
pub(super) const TIGHTEN: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if redis.call('PEXPIRETIME', KEYS[1]) - tonumber(ARGV[3]) <= now or redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
redis.call('SET', KEYS[3], '1', 'PX', 1000)
return 1
";

/// Holds a session, or lets it go on. Keys: the last word about it, its end. Arguments: the word, until when it is kept (ms).
/// Answers the last word, and 1 if it is this one; 0 if it says nothing new, -1 if the session is over.
///
/// A word that cannot be read is replaced by any.
pub(super) const HOLD: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local kept, over = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if over and not string.find(over, '@', 1, true) then return {kept or '', -1} end
local at, said = string.match(kept or '0 -', '^(%d+) ([+-])')
if said == string.sub(ARGV[1], 1, 1) then return {kept or '', 0} end
local last = string.format('%.0f', math.max(now, (tonumber(at) or 0) + 1)) .. ' ' .. ARGV[1]
redis.call('SET', KEYS[1], last, 'PXAT', ARGV[2])
return {last, 1}
";

/// Says again what was said then, unless there was another word since. Key: the last word. Arguments: when it was said (µs),
/// the text of it all, until when it is kept (ms). Answers 1 if it is the last word now.
pub(super) const HOLD_AGAIN: &str = r"#!lua flags=allow-oom
local at = string.match(redis.call('GET', KEYS[1]) or '', '^%d+')
if at and tonumber(at) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1
";

/// Says late what was to be said then, unless there was another word since. Keys: the last word, the session's end. Arguments:
/// the time of the call (µs), from when on another word counts (µs), the word, until when it is kept (ms). Answers the last
/// word, and 1; 2 if that said the same already; 0 if another word counts, -1 if the session is over.
pub(super) const HOLD_LATE: &str = r"#!lua flags=allow-oom
local kept, over = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2])
if over and not string.find(over, '@', 1, true) then return {kept or '', -1} end
local at, said = string.match(kept or '0 -', '^(%d+) ([+-])')
if kept and said == string.sub(ARGV[3], 1, 1) then return {kept, 2} end
if at and tonumber(at) >= tonumber(ARGV[2]) then return {kept, 0} end
local last = string.format('%.0f', math.max(tonumber(ARGV[1]), (tonumber(at) or 0) + 1)) .. ' ' .. ARGV[3]
redis.call('SET', KEYS[1], last, 'PXAT', ARGV[4])
return {last, 1}
";

/// Takes a turn, or goes on holding it. Key: whose turn it is. Arguments: the holder, for how long (ms). Answers 1 to whoever
/// has it.
pub(super) const TAKE_TURN: &str = r"#!lua flags=allow-oom
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// Gives a turn back. Key: whose turn it is. Arguments: the holder. Answers 1 if it had it.
pub(super) const END_TURN: &str = r"#!lua flags=allow-oom
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
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

/// Raises the generation of a user or tenant late, unless it is that or newer, or would end what was made since. Keys: the
/// standing, nodes of the tenant's index. Arguments: the generation; what follows it where the standing cannot be read; the time
/// of the call (µs); the user (or nothing: a tenant); something, to look alone. Answers 1, 0 where any of the nodes has a session
/// that was made since, -1 where one is split, or 2 where it was looked alone; and the standing now.
pub(super) const RAISE_LATE: &str = r"#!lua flags=allow-oom
local text = redis.call('GET', KEYS[1]) or '0'
local old, status = string.match(text, '^(%d+)( ?%a*)$')
if ARGV[4] ~= '' then old, status = string.match(text, '^%d+'), '' end
if old and tonumber(old) >= tonumber(ARGV[1]) then return {1, text} end
for i = 2, #KEYS do
  for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
    if member == '/' then return {-1, text} end
    if ARGV[4] == '' or string.sub(member, 1, 8) == ARGV[4] then
      local made = 0
      for at = 9, 15 do made = made * 256 + (string.byte(member, at) or 0) end
      if made > tonumber(ARGV[3]) then return {0, text} end
    end
  end
end
if ARGV[5] ~= '' then return {2, text} end
text = ARGV[1] .. (status or ARGV[2])
redis.call('SET', KEYS[1], text)
return {1, text}
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

/// Takes a place for a session in its user's node of the index. Key: the node. Arguments: the user, the session, its
/// lifetime (µs), its deadline at the latest (µs), how many the user may have (0: any number), what happens to one more
/// (`look`: the caller is told whom to look at; `deny`; `displace`: the oldest go), the session that it replaces (or
/// nothing), then entries that are over.
///
/// Answers -1 where the node is split; 0 and the user's entries where there is no place; else 1, when it was made (µs), its
/// deadline (µs), now and then how many entries the node has (else 0), and, in turn, the entries that are to end and their deadlines (ms): those
/// that this place displaces, and any that were displaced before and not ended.
///
/// Drops some of what has expired, so that a busy node stays small at a bounded cost. The node expires with its last
/// session, give or take ten minutes, for which it need not be written each time.
pub(super) const PLACE: &str = r"#!lua
local key, user, limit, action = KEYS[1], ARGV[1], tonumber(ARGV[5]), ARGV[6]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local millis = string.format('%.0f', math.floor(now / 1000))
local gone = redis.call('ZRANGE', key, '(-' .. millis, '(' .. millis, 'BYSCORE', 'LIMIT', 0, 64)
if gone[1] == '/' then return {-1} end
if #gone > 0 then redis.call('ZREM', key, unpack(gone)) end
local answer = {1, '', '', 0}
if limit > 0 then
  for i = 8, #ARGV do redis.call('ZREM', key, ARGV[i]) end
  local theirs, all = {}, redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for i = 1, #all, 2 do
    local member, score = all[i], tonumber(all[i + 1])
    if string.sub(member, 1, 8) == user then
      if score < 0 then
        answer[#answer + 1] = member
        answer[#answer + 1] = string.format('%.0f', -score)
      elseif ARGV[7] == '' or string.sub(member, 16) ~= ARGV[7] then
        local made = 0
        for at = 9, 15 do made = made * 256 + string.byte(member, at) end
        theirs[#theirs + 1] = {member, score, made, i}
      end
    end
  end
  if #theirs >= limit then
    if action ~= 'displace' then
      answer = {0}
      for i = 1, math.min(#theirs, 1000) do answer[i + 1] = theirs[i][1] end
      return answer
    end
    table.sort(theirs, function(a, b) return a[3] < b[3] or (a[3] == b[3] and a[4] < b[4]) end)
    for i = 1, #theirs - limit + 1 do
      redis.call('ZADD', key, string.format('-%.0f', theirs[i][2]), theirs[i][1])
      answer[#answer + 1] = theirs[i][1]
      answer[#answer + 1] = string.format('%.0f', theirs[i][2])
    end
  end
end
local deadline = math.min(now + tonumber(ARGV[3]), tonumber(ARGV[4]))
local until_then, made, rest = math.ceil(deadline / 1000), '', now
for _ = 1, 7 do
  made = string.char(rest % 256) .. made
  rest = math.floor(rest / 256)
end
redis.call('ZADD', key, string.format('%.0f', until_then), user .. made .. ARGV[2])
if redis.call('PEXPIRETIME', key) < until_then then
  redis.call('PEXPIREAT', key, string.format('%.0f', until_then + 600000))
end
answer[2], answer[3] = string.format('%.0f', now), string.format('%.0f', deadline)
if string.byte(ARGV[2]) % 8 == 0 then answer[4] = redis.call('ZCARD', key) end
return answer
";

/// Takes a session's place away. Key: the node. Arguments: the user, the session. Answers -1 where the node is split.
///
/// For one whose entry is not known, because its making was not answered.
pub(super) const TAKE_AWAY: &str = r"#!lua flags=allow-oom
if redis.call('ZSCORE', KEYS[1], '/') then return -1 end
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, 8) == ARGV[1] and string.sub(member, 16) == ARGV[2] then
    return redis.call('ZREM', KEYS[1], member)
  end
end
return 0
";

/// Splits a node into its children, by the next digit of the users' hashes. Keys: the node, its sixteen children. Argument:
/// how many digits lead to the node. Answers 0 where it stays as it is: all entries would go the same way, or there are too
/// many to be moved in one step.
pub(super) const SPLIT: &str = r"#!lua
local all = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
if #all > 20000 then return 0 end
local at, groups, count = math.floor(tonumber(ARGV[1]) / 2) + 1, {}, 0
for i = 1, #all, 2 do
  if all[i] == '/' then return 0 end
  local digit = string.byte(all[i], at)
  if tonumber(ARGV[1]) % 2 == 0 then digit = math.floor(digit / 16) else digit = digit % 16 end
  if not groups[digit] then
    groups[digit] = {}
    count = count + 1
  end
  local group = groups[digit]
  group[#group + 1] = all[i + 1]
  group[#group + 1] = all[i]
end
if count < 2 then return 0 end
local expires = redis.call('PEXPIRETIME', KEYS[1])
for digit, group in pairs(groups) do
  local child = KEYS[digit + 2]
  for from = 1, #group, 1000 do
    redis.call('ZADD', child, unpack(group, from, math.min(from + 999, #group)))
  end
  if redis.call('PEXPIRETIME', child) < expires then redis.call('PEXPIREAT', child, string.format('%.0f', expires)) end
end
redis.call('UNLINK', KEYS[1])
redis.call('ZADD', KEYS[1], 0, '/')
return 1
";

/// Writes the beat. Key: the instance's own. Argument: which one. Answers the time.
///
/// On a full server, too. The key stays long enough not to expire while it is written; that would be news as well.
pub(super) const WRITE_BEAT: &str = r"#!lua flags=allow-oom
redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)
return redis.call('TIME')
";

/// The same on a master of a cluster, which answers the time and what it says of itself at that very moment: its line of
/// `CLUSTER NODES`. Of all lines, those of large clusters would be long.
pub(super) const BEAT_OF_MASTER: &str = r"#!lua flags=allow-oom
redis.call('SET', KEYS[1], ARGV[1], 'PX', 60000)
local own = ''
for line in string.gmatch(redis.call('CLUSTER', 'NODES'), '[^\n]+') do
  if string.find(string.match(line, '^%S+ %S+ (%S+)') or '', 'myself', 1, true) then
    own = line
    break
  end
end
return {redis.call('TIME'), own}
";
