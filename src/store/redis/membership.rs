//! Who paid and has no tenant yet, kept for all gateways; and who asks the backend about whom.
//!
//! A hash has what is known of each: since when (ms), when last (ms), how often, the user, and behind a line feed what went
//! wrong. Two sorted sets order them, by name since when they wait and by score when they were asked about last. All three are
//! in one slot.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::super::membership::{
    Attempts, MOST_ORPHANS, MembershipStore, ORPHANS_KEPT, Orphan, OrphanCursor, OrphanNoted, Subject, key_of,
};
use super::super::{Page, StoreResult};
use super::answers::{exactly, time};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::session::{StoreTime, UserId};

/// What goes by the way whenever somebody is noted.
const SWEPT: usize = 16;

/// How somebody is forgotten, and who lapsed. The keys of all scripts are the hash, the order of waiting, the order of asking.
const FORGET: &str = r"#!lua
local function number(value) return string.format('%.0f', value) end
local function place(since, key) return string.format('%016.0f', since) .. '_' .. key end
local function forget(key)
  local kept = redis.call('HGET', KEYS[1], key)
  if kept then redis.call('ZREM', KEYS[2], place(tonumber(string.match(kept, '^%d+') or '0'), key)) end
  redis.call('ZREM', KEYS[3], key)
  return redis.call('HDEL', KEYS[1], key)
end
local function sweep(kept_for, most)
  local clock = redis.call('TIME')
  local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
  local lapsed = redis.call('ZRANGE', KEYS[3], '-inf', number(now - tonumber(kept_for)), 'BYSCORE', 'LIMIT', '0', most)
  for _, key in ipairs(lapsed) do forget(key) end
  return now
end
";

/// Notes somebody. Arguments: what stands for them, who they are, how often the backend was asked, what went wrong or
/// nothing, how many are kept, for how long (ms), how many are looked at to go, and `known` for nobody else. Answers 1 for
/// who is new, 2 for who was known, 0 for who is to be known and is not.
const NOTE: &str = r"
local now = sweep(ARGV[6], ARGV[7])
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if not kept and ARGV[8] == 'known' then return 0 end
local since, count, fault = now, 0, ''
if kept then
  local began, times, rest = string.match(kept, '^(%d+) %d+ (%d+) [^\n]*\n(.*)$')
  if began then since, count, fault = tonumber(began), tonumber(times), rest end
end
if ARGV[4] ~= '' then fault = ARGV[4] end
local words = number(since) .. ' ' .. number(now) .. ' ' .. number(count + tonumber(ARGV[3])) .. ' ' .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], words .. '\n' .. fault)
redis.call('ZADD', KEYS[2], '0', place(since, ARGV[1]))
redis.call('ZADD', KEYS[3], number(now), ARGV[1])
local over = math.min(redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[5]), tonumber(ARGV[7]))
if over > 0 then
  for _, key in ipairs(redis.call('ZRANGE', KEYS[3], '0', number(over - 1))) do forget(key) end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIREAT', key, number(now + tonumber(ARGV[6]))) end
if kept then return 2 end
return 1
";

/// Forgets who lapsed, and counts who is left. Arguments: for how long they are kept (ms), how many are looked at to go.
const COUNT: &str = r"
sweep(ARGV[1], ARGV[2])
return redis.call('ZCARD', KEYS[3])
";

#[async_trait]
impl MembershipStore for RedisStore {
    async fn note_orphan(&self, user: &UserId, attempts: &Attempts) -> StoreResult<OrphanNoted> {
        match self.ask_orphans("orphan_note", self.note(user, attempts, "")).await? {
            1 => Ok(OrphanNoted::New),
            _ => Ok(OrphanNoted::Known),
        }
    }

    async fn note_attempts(&self, user: &UserId, attempts: &Attempts) -> StoreResult<bool> {
        Ok(self.ask_orphans("orphan_note", self.note(user, attempts, "known")).await? != 0)
    }

    async fn forget_orphan(&self, user: &UserId) -> StoreResult<bool> {
        let mut command = eval(&format!("{FORGET}return forget(ARGV[1])"), &self.keys().orphans());
        command.arg(key_of(user));
        Ok(self.ask_orphans("orphan_forget", command).await? != 0)
    }

    async fn orphans(&self, after: Option<&OrphanCursor>, limit: usize) -> StoreResult<Page<Orphan, OrphanCursor>> {
        let after = after.map_or_else(|| String::from("-"), |after| format!("({:016}_{}", after.since, after.key));
        let work = |lanes: Arc<Lanes>| async move { self.read_orphans(&lanes, &after, limit).await };
        self.link.call("orphans", CALL_TIMEOUT, work).await
    }

    async fn count_orphans(&self) -> StoreResult<u64> {
        let mut command = eval(&format!("{FORGET}{COUNT}"), &self.keys().orphans());
        command.arg(millis(ORPHANS_KEPT)).arg(SWEPT);
        Ok(self.ask_orphans("orphans", command).await?.unsigned_abs())
    }

    async fn claim(&self, subject: &Subject, lasts: Duration) -> StoreResult<bool> {
        let mut pipeline = redis::pipe();
        let key = self.keys().recheck(&subject.kept());
        pipeline.cmd("SET").arg(key).arg("1").arg("NX").arg("PX").arg(millis(lasts).max(1));
        let work = |lanes: Arc<Lanes>| async move {
            let [set] = exactly(lanes.careful.ask(&pipeline).await?)?;
            match set {
                Value::Okay => Ok(true),
                Value::Nil => Ok(false),
                other => Err(unexpected("a claim", &other)),
            }
        };
        self.link.call("recheck_claim", CALL_TIMEOUT, work).await
    }
}

impl RedisStore {
    fn note(&self, user: &UserId, attempts: &Attempts, who: &str) -> Cmd {
        let mut command = eval(&format!("{FORGET}{NOTE}"), &self.keys().orphans());
        command
            .arg(key_of(user))
            .arg(user.kept())
            .arg(attempts.count)
            .arg(attempts.error.as_deref().unwrap_or_default());
        command.arg(MOST_ORPHANS).arg(millis(ORPHANS_KEPT)).arg(SWEPT).arg(who);
        command
    }

    async fn ask_orphans(&self, name: &'static str, command: Cmd) -> StoreResult<i64> {
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask_number(command).await };
        self.link.call(name, CALL_TIMEOUT, work).await
    }

    async fn read_orphans(
        &self,
        lanes: &Lanes,
        after: &str,
        limit: usize,
    ) -> Result<Page<Orphan, OrphanCursor>, Fault> {
        let [kept, waiting, _] = self.keys().orphans();
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("ZRANGE").arg(waiting).arg(after).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
        let [now, places] = exactly(lanes.quick.ask(&pipeline).await?)?;
        let oldest = oldest(time(now)?);
        let Value::Array(places) = places else { return Err(unexpected("who waits", &places)) };
        let places: Vec<OrphanCursor> = places.into_iter().map(place).collect::<Result<_, _>>()?;
        let Some(last) = places.last().cloned() else { return Ok(Page { items: Vec::new(), next: None }) };
        let mut pipeline = redis::pipe();
        for place in &places {
            pipeline.cmd("HGET").arg(&kept).arg(&place.key);
        }
        let entries = lanes.quick.ask(&pipeline).await?;
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            // Whoever was forgotten meanwhile is not there.
            if let Some(entry) = text(entry)? {
                items.push(read(&entry).ok_or_else(|| Fault::garbled("somebody without a tenant cannot be read"))?);
            }
        }
        items.retain(|orphan| orphan.last.as_micros() / 1000 > oldest);
        Ok(Page { items, next: (places.len() == limit).then_some(last) })
    }
}

/// Whoever was asked about no later than that (ms) is kept no longer.
fn oldest(now: StoreTime) -> u64 {
    now.before(ORPHANS_KEPT).as_micros() / 1000
}

fn place(value: Value) -> Result<OrphanCursor, Fault> {
    let place = text(value)?.and_then(|place| std::str::from_utf8(&place).ok()?.parse().ok());
    place.ok_or_else(|| Fault::garbled("a place in the order of waiting cannot be read"))
}

fn read(entry: &[u8]) -> Option<Orphan> {
    let (words, error) = std::str::from_utf8(entry).ok()?.split_once('\n')?;
    let mut words = words.splitn(4, ' ');
    let mut number = || words.next()?.parse().ok();
    let (since, last, attempts) = (number()?, number()?, number()?);
    let user = UserId::parse_kept(words.next()?).ok()?;
    let error = (!error.is_empty()).then(|| error.to_owned());
    Some(Orphan { user, since: StoreTime::from_millis(since), last: StoreTime::from_millis(last), attempts, error })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
