//! Logins, counted for all gateways: one script checks and reserves, one settles. `monitor::tally` has the same in words.
//!
//! A bucket is a sorted set. Of its members one is a login that is under way (`r`) or failed (`f`), then 16 hexadecimal
//! digits that tell it from others, 16 that stand for its accounts and 16 for its network; its score is the time (µs). `L` is
//! a lock in force and `O` one that holds nobody up, until then; `B` when the last of them began. All keys that a login
//! concerns are in one slot, because they decide together.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};

use super::super::StoreResult;
use super::super::monitor::{
    ACCOUNTS_KEPT, LockCursor, LoginGuard, MOST_ACCOUNTS_OF_A_USER, MOST_LOCKS, Reserved, Settlement, page_of_locks,
};
use super::answers::exactly;
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, number, text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::monitor::{AccountId, Attempt, Full, Lock, LockId, LockNote, Outcome};
use crate::session::StoreTime;

/// What both scripts begin with: the failures that count and the logins under way.
const COUNT: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local window, reserved = tonumber(ARGV[2]), tonumber(ARGV[3])
local remembers = ARGV[4] == '1'
local none = string.rep('0', 16)
local function look(key, with_reserved)
  local all = redis.call('ZRANGE', key, '0', '-1', 'WITHSCORES')
  local seen = { count = 0, accounts = 0, known = {}, new = #all == 0, L = 0, O = 0 }
  local since, gone = now - window, {}
  for at = 1, #all, 2 do
    local kind, score = string.sub(all[at], 1, 1), tonumber(all[at + 1])
    if kind == 'B' then since = math.max(since, score) elseif kind == 'L' or kind == 'O' then seen[kind] = score end
  end
  for at = 1, #all, 2 do
    local member, score = all[at], tonumber(all[at + 1])
    local kind = string.sub(member, 1, 1)
    if (kind == 'f' and score <= now - window) or (kind == 'r' and score <= now - reserved) then
      gone[#gone + 1] = member
    elseif (kind == 'f' and score > since) or (kind == 'r' and with_reserved) then
      local account = string.sub(member, 18, 33)
      seen.count = seen.count + 1
      if account ~= none and not seen.known[account] then
        seen.known[account] = true
        seen.accounts = seen.accounts + 1
      end
    end
  end
  for at = 1, #gone, 1000 do redis.call('ZREM', key, unpack(gone, at, math.min(at + 999, #gone))) end
  return seen
end
local function keep(key, micros)
  local millis = math.ceil(micros / 1000)
  if redis.call('PEXPIRETIME', key) < millis then redis.call('PEXPIREAT', key, string.format('%.0f', millis)) end
end
local account = string.sub(ARGV[1], 17, 32)
-- A bucket that counts accounts is a network's.
local function is_left_out(seen, most_accounts) return seen.new and most_accounts == 0 and not remembers end
";

/// Keys: the buckets. Arguments: the rest of the member, the window and how long a login is under way at most (µs), whether
/// accounts of which nothing is kept are remembered, then of each bucket its limit and that of accounts (0: none). Answers 0
/// and how many accounts' buckets were new; 1 where it must wait; 2, which bucket is locked longest, until when and the time
/// (µs).
const RESERVE: &str = r"
local busy, locked, until_then, new, counted = false, 0, 0, 0, {}
for at, key in ipairs(KEYS) do
  local seen = look(key, true)
  local most, most_accounts = tonumber(ARGV[3 + 2 * at]), tonumber(ARGV[4 + 2 * at])
  if not is_left_out(seen, most_accounts) then counted[#counted + 1] = key end
  if seen.new and most_accounts == 0 and remembers then new = new + 1 end
  if seen.L > now and seen.L > until_then then locked, until_then = at, seen.L end
  if seen.count >= most then busy = true end
  if most_accounts > 0 and account ~= none and not seen.known[account] and seen.accounts >= most_accounts then busy = true end
end
if locked > 0 then return {2, locked, string.format('%.0f', until_then), string.format('%.0f', now)} end
if busy then return {1} end
for _, key in ipairs(counted) do
  redis.call('ZADD', key, string.format('%.0f', now), 'r' .. ARGV[1])
  keep(key, now + math.max(window, reserved))
end
return {0, new}
";

/// Keys: the locks, then the bucket of the account (or the locks once more), then the buckets. Arguments: as above, then
/// `failed`, `succeeded` or `neither`; how long a lock holds (µs); `L` or `O`; how many locks are listed; within which
/// time an account's failures matter to its success (µs); then of each bucket its limit, that of accounts, whether a success empties it, and the note of its lock (or
/// nothing). Answers how many accounts' buckets were new, how often
/// the account failed from elsewhere, and then of each bucket that is full which it is, the failures, the accounts, until when
/// (µs).
const SETTLE: &str = r"
local outcome, lasts, letter, most_locks = ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local new, elsewhere, answer = 0, 0, {}
if outcome == 'succeeded' and KEYS[2] ~= KEYS[1] then
  local all = redis.call('ZRANGE', KEYS[2], '0', '-1', 'WITHSCORES')
  for at = 1, #all, 2 do
    local member = all[at]
    if string.sub(member, 1, 1) == 'f' and tonumber(all[at + 1]) > now - tonumber(ARGV[9])
      and string.sub(member, 34) ~= string.sub(ARGV[1], 33) then elsewhere = elsewhere + 1 end
  end
end
for at = 3, #KEYS do
  local key, first = KEYS[at], 10 + 4 * (at - 3)
  local seen = outcome == 'failed' and look(key, false)
  redis.call('ZREM', key, 'r' .. ARGV[1])
  if outcome == 'succeeded' and ARGV[first + 2] == '1' then
    for _, member in ipairs(redis.call('ZRANGE', key, '0', '-1')) do
      if string.sub(member, 1, 1) == 'f' then redis.call('ZREM', key, member) end
    end
  elseif seen then
    local most, most_accounts = tonumber(ARGV[first]), tonumber(ARGV[first + 1])
    if seen.L <= now and (letter == 'L' or seen.O <= now) and not is_left_out(seen, most_accounts) then
      if seen.new and most_accounts == 0 then new = new + 1 end
      redis.call('ZADD', key, string.format('%.0f', now), 'f' .. ARGV[1])
      seen.count = seen.count + 1
      if account ~= none and not seen.known[account] then seen.accounts = seen.accounts + 1 end
      if seen.count >= most or (most_accounts > 0 and seen.accounts >= most_accounts) then
        local ends = string.format('%.0f', now + lasts)
        redis.call('ZADD', key, ends, letter, string.format('%.0f', now), 'B')
        if ARGV[first + 3] ~= '' then
          redis.call('ZADD', KEYS[1], ends, ARGV[first + 3])
          keep(KEYS[1], now + lasts)
        end
        keep(key, now + lasts)
        for _, value in ipairs({at - 2, seen.count, seen.accounts, ends}) do answer[#answer + 1] = value end
      end
      keep(key, now + math.max(window, reserved))
    end
  end
end
if #answer > 0 then
  local gone = redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 1000)
  if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
  local over = redis.call('ZCARD', KEYS[1]) - most_locks
  if over > 0 then redis.call('ZREM', KEYS[1], unpack(redis.call('ZRANGE', KEYS[1], 0, math.min(over, 1000) - 1))) end
end
return {new, elsewhere, answer}
";

/// Ends a lock. Keys: the locks, the bucket. Arguments: its note. Answers until when it would have held (µs), or nothing.
///
/// What led to it counts no more.
const UNLOCK: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local held = redis.call('ZSCORE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], 'L', 'O', 'B')
for _, member in ipairs(redis.call('ZRANGE', KEYS[2], '0', '-1')) do
  if string.sub(member, 1, 1) == 'f' then redis.call('ZREM', KEYS[2], member) end
end
if held and tonumber(held) > now then return string.format('%.0f', tonumber(held)) end
return ''
";

/// Remembers an account of a user. Key: the user's. Arguments: the account, how many there may be, for how long they are kept
/// (ms).
const REMEMBER_ACCOUNT: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
for _, account in ipairs(redis.call('ZRANGE', KEYS[1], '0', '-1', 'REV')) do
  ARGV[2] = ARGV[2] - 1
  if ARGV[2] < 0 then redis.call('ZREM', KEYS[1], account) end
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + tonumber(ARGV[3])))
return 1
";

/// Locks an account, whatever was counted, unless it is for longer. Keys: the locks, the account's bucket. Arguments: the note,
/// how long it holds (µs), by what the notes of this account are known.
const LOCK: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local ends, held = now + tonumber(ARGV[2]), tonumber(redis.call('ZSCORE', KEYS[2], 'L') or '0')
if held >= ends then return 1 end
if held > now then
  for _, note in ipairs(redis.call('ZRANGE', KEYS[1], '0', '-1')) do
    if string.find(note, ARGV[3], 1, true) then redis.call('ZREM', KEYS[1], note) end
  end
end
redis.call('ZADD', KEYS[2], string.format('%.0f', ends), 'L', string.format('%.0f', now), 'B')
redis.call('ZADD', KEYS[1], string.format('%.0f', ends), ARGV[1])
for _, key in ipairs(KEYS) do
  local millis = math.ceil(ends / 1000)
  if redis.call('PEXPIRETIME', key) < millis then redis.call('PEXPIREAT', key, string.format('%.0f', millis)) end
end
return 1
";

/// How many locks are in force. Key: the locks. Those that are over go.
const COUNT_LOCKS: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local gone = redis.call('ZRANGE', KEYS[1], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, 1000)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
return redis.call('ZCARD', KEYS[1])
";

static RESERVING: LazyLock<String> = LazyLock::new(|| format!("#!lua{COUNT}{RESERVE}"));
static SETTLING: LazyLock<String> = LazyLock::new(|| format!("#!lua{COUNT}{SETTLE}"));

#[async_trait]
impl LoginGuard for RedisStore {
    async fn reserve(&self, attempt: &Attempt) -> StoreResult<Reserved> {
        let mut command = eval(&RESERVING, &self.buckets(attempt));
        common(&mut command, attempt);
        for bucket in &attempt.buckets {
            command.arg(bucket.most).arg(bucket.most_accounts.unwrap_or(0));
        }
        let answer = self.ask_guard("login_reserve", command).await?;
        read_reserved(answer).map_err(Into::into)
    }

    async fn settle(&self, attempt: &Attempt, outcome: Outcome) -> StoreResult<Settlement> {
        let locks = self.keys().login_locks();
        let account = attempt.account_key.as_ref().map_or_else(|| locks.clone(), |key| self.keys().login_bucket(key));
        let mut keys = vec![locks, account];
        keys.extend(self.buckets(attempt));
        let mut command = eval(&SETTLING, &keys);
        common(&mut command, attempt);
        command.arg(match outcome {
            Outcome::Failed => "failed",
            Outcome::Succeeded => "succeeded",
            Outcome::Neither => "neither",
        });
        command.arg(micros(attempt.lock)).arg(if attempt.enforced { "L" } else { "O" }).arg(MOST_LOCKS);
        command.arg(micros(attempt.guess_window));
        for bucket in &attempt.buckets {
            let note = Some(&bucket.note).filter(|_| attempt.lists_locks).map(serde_json::to_string);
            let note = note.transpose().ok().flatten().unwrap_or_default();
            command.arg(bucket.most).arg(bucket.most_accounts.unwrap_or(0));
            command.arg(u8::from(bucket.is_cleared_by_success())).arg(note);
        }
        let answer = self.ask_guard("login_settle", command).await?;
        read_settlement(answer).map_err(Into::into)
    }

    async fn remember_account(&self, user: &str, account: &AccountId) -> StoreResult<()> {
        let mut command = eval(REMEMBER_ACCOUNT, &[self.keys().login_bucket(user)]);
        command.arg(account.to_string()).arg(MOST_ACCOUNTS_OF_A_USER).arg(ACCOUNTS_KEPT.as_millis().to_string());
        self.ask_guard("login_remember", command).await.map(drop)
    }

    async fn lock_user(&self, user: &str, lasts: Duration) -> StoreResult<usize> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZRANGE").arg(self.keys().login_bucket(user)).arg(0).arg(-1);
        let work = |lanes: Arc<Lanes>| async move {
            let [known] = exactly(lanes.careful.ask(&pipeline).await?)?;
            let Value::Array(known) = known else { return Err(unexpected("a user's accounts", &known)) };
            let mut locks = redis::pipe();
            let mut count = 0;
            for account in known {
                let account = text(account)?.and_then(|account| AccountId::parse(std::str::from_utf8(&account).ok()?));
                let Some(account) = account else { continue };
                let note = LockNote::of_account(&account, lasts);
                let mut lock = eval(LOCK, &[self.keys().login_locks(), self.keys().login_bucket(&note.key)]);
                lock.arg(serde_json::to_string(&note).unwrap_or_default()).arg(micros(lasts));
                lock.arg(format!("\"key\":{}", serde_json::Value::from(&*note.key)));
                locks.add_command(lock);
                count += 1;
            }
            if count > 0 {
                lanes.careful.ask(&locks).await?;
            }
            Ok(count)
        };
        self.link.call("login_lock", CALL_TIMEOUT, work).await
    }

    async fn locks(&self, after: Option<&LockCursor>, limit: usize) -> StoreResult<Vec<Lock>> {
        Ok(page_of_locks(self.all_locks().await?, after, limit))
    }

    async fn count_locks(&self) -> StoreResult<u64> {
        let answer = self.ask_guard("login_locks", eval(COUNT_LOCKS, &[self.keys().login_locks()])).await?;
        Ok(number(&answer).map(|count| u64::try_from(count).unwrap_or_default())?)
    }

    async fn unlock(&self, id: &LockId) -> StoreResult<Option<Lock>> {
        let Some(lock) = self.all_locks().await?.into_iter().find(|lock| lock.id() == *id) else { return Ok(None) };
        let keys = [self.keys().login_locks(), self.keys().login_bucket(&lock.note.key)];
        let mut command = eval(UNLOCK, &keys);
        command.arg(serde_json::to_string(&lock.note).unwrap_or_default());
        let held = text(self.ask_guard("login_unlock", command).await?)?;
        Ok(held.filter(|held| !held.is_empty()).map(|_| lock))
    }
}

impl RedisStore {
    async fn ask_guard(&self, name: &'static str, command: Cmd) -> StoreResult<Value> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.careful.ask(&pipeline).await?)?;
            Ok(answer)
        };
        self.link.call(name, CALL_TIMEOUT, work).await
    }

    fn buckets(&self, attempt: &Attempt) -> Vec<String> {
        attempt.buckets.iter().map(|bucket| self.keys().login_bucket(&bucket.key)).collect()
    }

    async fn all_locks(&self) -> StoreResult<Vec<Lock>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("ZRANGE").arg(self.keys().login_locks()).arg(0).arg(-1).arg("WITHSCORES");
        let work = |lanes: Arc<Lanes>| async move {
            let [now, locks] = exactly(lanes.quick.ask(&pipeline).await?)?;
            read_locks(super::answers::time(now)?, locks)
        };
        self.link.call("login_locks", CALL_TIMEOUT, work).await
    }
}

fn common(command: &mut Cmd, attempt: &Attempt) {
    command.arg(format!("{:016x}{:016x}{:016x}", attempt.id, attempt.account_tag, attempt.network));
    command.arg(micros(attempt.window)).arg(micros(Attempt::RESERVED_FOR));
    command.arg(u8::from(attempt.remembers_accounts));
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn read_reserved(answer: Value) -> Result<Reserved, Fault> {
    let Value::Array(parts) = answer else { return Err(unexpected("a reservation", &answer)) };
    match parts.as_slice() {
        [kind, new] if number(kind)? == 0 => Ok(Reserved::Yes { new: small(new)? }),
        [kind] if number(kind)? == 1 => Ok(Reserved::Busy),
        [kind, bucket, until, now] if number(kind)? == 2 => {
            let bucket = usize::try_from(small(bucket)?).unwrap_or_default().saturating_sub(1);
            Ok(Reserved::Locked { bucket, until: moment(until)?, now: moment(now)? })
        }
        _ => Err(Fault::garbled("a reservation that was never written")),
    }
}

fn read_settlement(answer: Value) -> Result<Settlement, Fault> {
    let Value::Array(parts) = answer else { return Err(unexpected("a settlement", &answer)) };
    let [new, elsewhere, full] = exactly(parts)?;
    let Value::Array(full) = full else { return Err(unexpected("full buckets", &full)) };
    let mut settlement = Settlement { full: Vec::new(), elsewhere: small(&elsewhere)?, new: small(&new)? };
    for entry in full.chunks(4) {
        let [at, failures, accounts, until] = entry else { return Err(Fault::garbled("half of a full bucket")) };
        let at = usize::try_from(small(at)?).unwrap_or_default().saturating_sub(1);
        let full = Full { failures: small(failures)?, accounts: small(accounts)?, until: moment(until)? };
        settlement.full.push((at, full));
    }
    Ok(settlement)
}

/// Members in turn with their scores, or pairs of them, as the protocol's version has it. What is no lock is another
/// version's.
fn read_locks(now: StoreTime, answer: Value) -> Result<Vec<Lock>, Fault> {
    let Value::Array(list) = answer else { return Err(unexpected("locks", &answer)) };
    let mut flat = Vec::with_capacity(list.len());
    for entry in list {
        match entry {
            Value::Array(pair) => flat.extend(pair),
            single => flat.push(single),
        }
    }
    let mut locks = Vec::new();
    let mut flat = flat.into_iter();
    while let (Some(member), Some(score)) = (flat.next(), flat.next()) {
        let member = text(member)?.unwrap_or_default();
        let Ok(note) = serde_json::from_slice::<LockNote>(&member) else { continue };
        let until = match score {
            Value::Double(until) => until,
            other => {
                let score = text(other)?.unwrap_or_default();
                let score = std::str::from_utf8(&score).ok().and_then(|score| score.parse().ok());
                score.ok_or_else(|| Fault::garbled("a lock without an end"))?
            }
        };
        if !(0.0..=9e15).contains(&until) {
            return Err(Fault::garbled("a lock without an end"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within 2^53, by the line above"
        )]
        let until = StoreTime::from_micros(until as u64);
        if until > now {
            locks.push(Lock { note, until });
        }
    }
    Ok(locks)
}

fn small(value: &Value) -> Result<u32, Fault> {
    u32::try_from(number(value)?).map_err(|_| Fault::garbled("a number out of bounds"))
}

fn moment(value: &Value) -> Result<StoreTime, Fault> {
    super::answers::micros(value.clone())
}
