//! The scripts: what must be one step on the server.
//!
//! Each names all its keys in `KEYS`, and the keys of one script share a slot. Those that end sessions carry
//! `allow-oom`: a full server must still be able to end a session. They are sent in full each time (`EVAL`): the
//! server keeps them compiled by their hash, and a server that restarted needs no loading first.

/// Ends one session. Keys: touch key, reason. Arguments: the reason, until when it is kept (ms), the absolute deadline
/// (µs). Answers 1 to the one caller that ended it.
///
/// The touch key decides: only one caller can unlink it, and nothing but the making of a session ever sets it. So the
/// record may stay, and tell whose session it was: a touch in flight finds no touch key to move. Should an old copy of
/// the touch key ever come back with a restored server, the reason beside it still says that the session is over.
pub(super) const END: &str = r"#!lua flags=allow-oom
if redis.call('UNLINK', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
if tonumber(time[1]) * 1000000 + tonumber(time[2]) >= tonumber(ARGV[3]) then return 0 end
local noted = redis.pcall('SET', KEYS[2], ARGV[1], 'NX', 'PXAT', ARGV[2])
if noted == false then return 0 end
return 1
";

/// Takes back a session that must not come to be. Keys: touch key, record. Answers 1 unless somebody else ended it
/// first.
pub(super) const DISCARD: &str = r"#!lua flags=allow-oom
local ours = redis.call('UNLINK', KEYS[1])
redis.call('UNLINK', KEYS[2])
return ours
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

/// Raises a generation. Key: the user's generation. Answers the new one (µs), as text.
///
/// One that cannot be read is replaced like an absent one: the new one differs from it, which is all that ends the
/// sessions made under it.
pub(super) const RAISE: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local old = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
local new = string.format('%.0f', math.max(now, old + 1))
redis.call('SET', KEYS[1], new)
return new
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
