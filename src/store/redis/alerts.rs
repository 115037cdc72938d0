//! The outbox of alerts, of all gateways: where each goes in a hash, and of each queue a sorted set by when each is due.
//! Putting in is the findings' (`findings.rs`): one script keeps what was found and whom it is to be told.
//!
//! Who took one moved its due time to the end of the lease: that number says whose it is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::alerts::{
    ALERTS_KEPT, AlertId, AlertOutbox, Attempts, Gathered, LEASE, Next, Taken, Target, Waiting,
};
use super::answers::{exactly, micros};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text, unexpected};
use super::keys::Keys;
use super::lane::Lanes;
use super::store::RedisStore;
use crate::session::StoreTime;

/// Takes the one of a queue that has been due for longest. Keys: the queue, the alerts, what was tried, what was gathered.
/// Argument: for how long it is the taker's (ms). Answers the time and when the next one is due (or nothing); then of one
/// that was taken the end of the lease (each in ms), its id, where it goes, what was tried, what was gathered.
///
/// What is in the queue and not among the alerts was forgotten.
const TAKE: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local shown, taken = string.format('%.0f', now), nil
for _ = 1, 100 do
  local first = redis.call('ZRANGE', KEYS[1], '-inf', shown, 'BYSCORE', 'LIMIT', 0, 1)[1]
  if not first then break end
  local text = redis.call('HGET', KEYS[2], first)
  if text then
    local lease = string.format('%.0f', now + tonumber(ARGV[1]))
    redis.call('ZADD', KEYS[1], lease, first)
    taken = {lease, first, text, redis.call('HGET', KEYS[3], first) or '', redis.call('HGET', KEYS[4], first) or ''}
    break
  end
  redis.call('ZREM', KEYS[1], first)
end
local due = redis.call('ZRANGE', KEYS[1], '0', '0', 'WITHSCORES')[2] or ''
local answer = {shown, due}
for _, part in ipairs(taken or {}) do answer[#answer + 1] = part end
return answer
";

/// Takes one out. Keys: as above. Arguments: its id and the end of the lease (ms). Answers whether it was the caller's.
const DONE: &str = r"#!lua flags=allow-oom
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '-1') ~= tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
for at = 2, 4 do redis.call('HDEL', KEYS[at], ARGV[1]) end
return 1
";

/// Puts one off. Keys: as above. Arguments: its id, the end of the lease, for how long (ms), what was tried, for how long
/// that is kept (ms). Answers whether it was the caller's.
const POSTPONE: &str = r"#!lua flags=allow-oom
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or '-1') ~= tonumber(ARGV[2]) then return 0 end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])), ARGV[1])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[4])
redis.call('PEXPIREAT', KEYS[3], string.format('%.0f', now + tonumber(ARGV[5])))
return 1
";

#[async_trait]
impl AlertOutbox for RedisStore {
    async fn take(&self, queue: &str) -> StoreResult<Next> {
        let mut command = eval(TAKE, &of_queue(self.keys(), queue));
        command.arg(millis(LEASE));
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.careful.ask(&pipeline).await?)?;
            let Value::Array(mut parts) = answer else { return Err(unexpected("an alert", &answer)) };
            let of_one = parts.split_off(2.min(parts.len()));
            let [now, due] = exactly(parts)?;
            let due = match text(due)? {
                Some(due) if !due.is_empty() => Some(due_time(&due)?),
                _ => None,
            };
            let taken = if of_one.is_empty() { None } else { Some(taken(exactly(of_one)?)?) };
            Ok(Next { now: in_millis(now)?, taken, due })
        };
        self.link.call("alert_take", CALL_TIMEOUT, work).await
    }

    async fn done(&self, taken: &Taken) -> StoreResult<bool> {
        let mut command = eval(DONE, &of_queue(self.keys(), &taken.waiting.target.queue));
        command.arg(taken.waiting.id.as_str()).arg(taken.lease);
        let work = |lanes: Arc<Lanes>| async move { Ok(lanes.careful.ask_number(command).await? == 1) };
        self.link.call("alert_done", CALL_TIMEOUT, work).await
    }

    async fn postpone(&self, taken: &Taken, pause: Duration, attempts: &Attempts) -> StoreResult<bool> {
        let mut command = eval(POSTPONE, &of_queue(self.keys(), &taken.waiting.target.queue));
        let attempts = serde_json::to_string(attempts).unwrap_or_default();
        command.arg(taken.waiting.id.as_str()).arg(taken.lease).arg(millis(pause)).arg(attempts);
        command.arg(millis(2 * ALERTS_KEPT));
        let work = |lanes: Arc<Lanes>| async move { Ok(lanes.careful.ask_number(command).await? == 1) };
        self.link.call("alert_postpone", CALL_TIMEOUT, work).await
    }

    async fn waiting(&self, after: Option<&AlertId>, limit: usize) -> StoreResult<Vec<Waiting>> {
        let work = |lanes: Arc<Lanes>| async move {
            let (_, mut ids) = self.alert_ids(&lanes).await?;
            ids.sort_unstable();
            ids.retain(|id| after.is_none_or(|after| id > after));
            ids.truncate(limit);
            self.alerts_of(&lanes, ids).await
        };
        self.link.call("alerts", CALL_TIMEOUT, work).await
    }

    async fn count_waiting(&self) -> StoreResult<u64> {
        let mut command = redis::cmd("HLEN");
        command.arg(self.keys().alerts());
        let work = |lanes: Arc<Lanes>| async move {
            let count = lanes.quick.ask_number(command).await?;
            u64::try_from(count).map_err(|_| Fault::garbled("fewer than no alerts"))
        };
        self.link.call("alert_count", CALL_TIMEOUT, work).await
    }

    async fn forget_old(&self) -> StoreResult<u64> {
        let work = |lanes: Arc<Lanes>| async move {
            let (now, mut ids) = self.alert_ids(&lanes).await?;
            let oldest = now.before(ALERTS_KEPT);
            ids.retain(|id| id.since() < oldest);
            if ids.is_empty() {
                return Ok(0);
            }
            let mut pipeline = redis::pipe();
            for key in [self.keys().alerts(), self.keys().alert_attempts(), self.keys().alerts_gathered()] {
                pipeline.cmd("HDEL").arg(key).arg(ids.iter().map(AlertId::as_str).collect::<Vec<_>>());
            }
            // Two gateways may do so at once: each counts what it took out itself.
            let [gone, _, _] = exactly(lanes.bulk.ask(&pipeline).await?)?;
            u64::try_from(super::fault::number(&gone)?).map_err(|_| Fault::garbled("fewer than no alerts"))
        };
        self.link.call("alert_forget", CALL_TIMEOUT, work).await
    }
}

impl RedisStore {
    /// The time, and those that wait.
    async fn alert_ids(&self, lanes: &Lanes) -> Result<(StoreTime, Vec<AlertId>), Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("HGETALL").arg(self.keys().alerts());
        let [now, answer] = exactly(lanes.bulk.ask(&pipeline).await?)?;
        let Value::Map(list) = answer else { return Err(unexpected("alerts", &answer)) };
        let mut ids = Vec::with_capacity(list.len());
        for (id, _) in list {
            // What is no id of ours, another version wrote.
            ids.extend(text(id)?.and_then(|id| AlertId::parse(std::str::from_utf8(&id).ok()?)));
        }
        Ok((super::answers::time(now)?, ids))
    }

    async fn alerts_of(&self, lanes: &Lanes, ids: Vec<AlertId>) -> Result<Vec<Waiting>, Fault> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for id in &ids {
            for key in [self.keys().alerts(), self.keys().alert_attempts(), self.keys().alerts_gathered()] {
                pipeline.cmd("HGET").arg(key).arg(id.as_str());
            }
        }
        let mut parts = lanes.bulk.ask(&pipeline).await?.into_iter();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let mut next = || text(parts.next().unwrap_or(Value::Nil));
            let (target, attempts, gathered) = (next()?, next()?, next()?);
            // What is gone by now was sent.
            let Some(target) = target.as_deref().and_then(Target::decode) else { continue };
            found.push(waiting(id, target, attempts, gathered, StoreTime::from_millis(0)));
        }
        let mut pipeline = redis::pipe();
        for one in &found {
            pipeline.cmd("ZSCORE").arg(self.keys().alert_queue(&one.target.queue)).arg(one.id.as_str());
        }
        if !found.is_empty() {
            for (one, due) in found.iter_mut().zip(lanes.bulk.ask(&pipeline).await?) {
                match due {
                    Value::Double(due) => one.due = in_time(due),
                    // It was sent meanwhile.
                    Value::Nil => {}
                    other => return Err(unexpected("a due time", &other)),
                }
            }
        }
        Ok(found)
    }
}

fn of_queue(keys: &Keys, queue: &str) -> [String; 4] {
    [keys.alert_queue(queue), keys.alerts(), keys.alert_attempts(), keys.alerts_gathered()]
}

fn taken([lease, id, target, attempts, gathered]: [Value; 5]) -> Result<Taken, Fault> {
    let lease = in_millis(lease)?;
    let id = text(id)?.and_then(|id| AlertId::parse(std::str::from_utf8(&id).ok()?));
    let id = id.ok_or_else(|| Fault::garbled("an alert without an id"))?;
    let target = text(target)?.as_deref().and_then(Target::decode);
    let target = target.ok_or_else(|| Fault::garbled("an alert to nobody"))?;
    let waiting = waiting(id, target, text(attempts)?, text(gathered)?, lease);
    Ok(Taken { waiting, lease: lease.as_micros() / 1000 })
}

fn waiting(
    id: AlertId,
    target: Target,
    attempts: Option<Vec<u8>>,
    gathered: Option<Vec<u8>>,
    due: StoreTime,
) -> Waiting {
    let attempts = attempts.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let gathered = gathered.and_then(|text| Gathered::decode(&text));
    Waiting { id, target, due, attempts, gathered }
}

/// A score, which Redis may write with an exponent.
fn due_time(text: &[u8]) -> Result<StoreTime, Fault> {
    let millis = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    millis.map(in_time).ok_or_else(|| Fault::garbled("a due time that is none"))
}

/// The same as a number of milliseconds.
const fn in_time(millis: f64) -> StoreTime {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    StoreTime::from_millis(millis as u64)
}

fn in_millis(value: Value) -> Result<StoreTime, Fault> {
    Ok(StoreTime::from_millis(micros(value)?.as_micros()))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
