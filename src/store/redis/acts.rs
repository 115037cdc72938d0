//! Acts that count within a window, and what is remembered of ended sessions: one pipeline for many of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::super::StoreResult;
use super::super::acts::ActStore;
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text};
use super::keys::Keys;
use super::lane::Lanes;
use super::store::RedisStore;
use crate::clock::micros;
use crate::monitor::{Act, Counting, EndNote};
use crate::session::{SessionId, StoreTime};

/// Counts an act, as [`ActTally::count`](crate::monitor::ActTally::count). Key: what it counts with, a sorted set. Arguments:
/// `different` or `amount`; what, or how much; how many or how much it takes; the window and its parts (µs). Answers how many
/// or how much it makes where it fires, else nothing.
///
/// Of different things the scores are times (µs); of amounts the members are parts of the window, and the scores amounts.
const COUNT: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local most, window, part = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local is_amount = ARGV[1] == 'amount'
local member = ARGV[2]
if is_amount then member = string.format('%.0f', math.floor(now / part)) end
local all = redis.call('ZRANGE', KEYS[1], '0', '-1', 'WITHSCORES')
local gone, sum, here = {}, 0, 0
for at = 1, #all, 2 do
  local score = tonumber(all[at + 1])
  local since = score
  if is_amount then since = tonumber(all[at]) * part end
  if since + window <= now then
    gone[#gone + 1] = all[at]
  elseif all[at] == member then
    here = score
  elseif is_amount then
    sum = sum + score
  else
    sum = sum + 1
  end
end
local fires
if is_amount then
  here = here + tonumber(ARGV[2])
  sum = sum + here
  fires = sum > most
else
  here = now
  sum = sum + 1
  fires = sum >= most
end
if fires then
  redis.call('UNLINK', KEYS[1])
  return string.format('%.0f', sum)
end
for at = 1, #gone, 1000 do redis.call('ZREM', KEYS[1], unpack(gone, at, math.min(at + 999, #gone))) end
redis.call('ZADD', KEYS[1], string.format('%.0f', here), member)
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.ceil((now + window) / 1000)))
return ''
";

#[async_trait]
impl ActStore for RedisStore {
    async fn count_acts(&self, acts: &[Act]) -> StoreResult<Vec<Option<u64>>> {
        if acts.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for act in acts {
            pipeline.add_command(count(self.keys(), act));
        }
        let work = |lanes: Arc<Lanes>| async move {
            lanes.careful.ask(&pipeline).await?.into_iter().map(fired).collect::<Result<Vec<_>, _>>()
        };
        self.link.call("acts_count", CALL_TIMEOUT, work).await
    }

    fn remember_ends(&self, remembers: bool) {
        self.remembers_ends.store(remembers, Ordering::Relaxed);
    }

    async fn keep_end_notes(&self, notes: &[(SessionId, EndNote, StoreTime)]) -> StoreResult<()> {
        if notes.is_empty() {
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        for (id, note, until) in notes {
            let keep = pipeline.cmd("SET").arg(self.keys().end_note(id)).arg(note.encode());
            keep.arg("PXAT").arg(until.as_millis_rounded_up());
        }
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask(&pipeline).await.map(drop) };
        self.link.call("end_notes", CALL_TIMEOUT, work).await
    }

    async fn end_notes(&self, sessions: &[SessionId]) -> StoreResult<Vec<Option<EndNote>>> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in sessions {
            pipeline.cmd("GET").arg(self.keys().end_note(id));
        }
        let work = |lanes: Arc<Lanes>| async move {
            let read = |kept: Value| Ok(text(kept)?.as_deref().and_then(EndNote::decode));
            lanes.quick.ask(&pipeline).await?.into_iter().map(read).collect::<Result<Vec<_>, Fault>>()
        };
        self.link.call("end_notes", CALL_TIMEOUT, work).await
    }
}

fn count(keys: &Keys, act: &Act) -> Cmd {
    let mut command = eval(COUNT, &[keys.act(&act.key)]);
    match act.counting {
        Counting::Different(what) => command.arg("different").arg(format!("{what:016x}")),
        Counting::Amount(amount) => command.arg("amount").arg(amount),
    };
    command.arg(act.count).arg(micros(act.window)).arg(act.part());
    command
}

fn fired(answer: Value) -> Result<Option<u64>, Fault> {
    let said = text(answer)?.unwrap_or_default();
    if said.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(&said).ok().and_then(|said| said.parse().ok());
    number.map(Some).ok_or_else(|| Fault::garbled("a count that is none"))
}
