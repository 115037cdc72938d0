//! What was found, kept for all gateways: a stream, and beside it how often each was found again and what was said of it.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::alerts::{ALERTS_KEPT, Fate, MOST_ALERTS, MOST_LISTED, Posting, kind_of};
use super::super::monitor::{
    FINDINGS_KEPT, FindingId, FindingStore, FindingsOf, Kept, KeptFinding, MOST_FINDINGS, MOST_OPEN, OfTenant, ToKeep,
};
use super::alerts::millis;
use super::answers::{exactly, time};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, number, text, unexpected};
use super::lane::{Lane, Lanes};
use super::store::RedisStore;
use crate::monitor::{FindingNote, FindingRecord, OPEN_FOR, Risk, Severity};
use crate::session::SessionId;

/// Keeps a finding, unless the same one was kept a while ago and nobody judged it yet, and puts in what is to be told of it. Keys: the stream, what
/// tells the same (or nothing), how often each was found again, the alerts that wait, what was gathered, what is open of
/// sessions, what was said of findings; then of each posting its queue and what its limit counts. Arguments: the finding, how many are kept, for how long (ms), for how long
/// the same counts on the first (ms), how many alerts may wait in a queue, for how long (ms), how many findings of one are named, what
/// those are counted by that are alike, the session and how bad it is for that (or nothing), for how long that is open (ms), of
/// how many sessions something is; then of each posting where it goes, what those gathered with it are called by, for
/// how long it is gathered (ms; 0: it is not), how many may go there (0: any), within which time (ms), for how long further
/// ones are gathered (ms; 0: they are not told). Answers 1, its name and the fate of each posting; 0 and that of the first.
///
/// A stream is trimmed by length or by age, not by both at once. What is in a queue and not among the alerts was forgotten, and
/// takes nobody's room.
const KEEP: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function open(id)
  if ARGV[9] == '' then return end
  local ends = string.format('%.0f', now + tonumber(ARGV[10]))
  redis.call('ZADD', KEYS[6], ends, ARGV[9] .. ':' .. id)
  redis.call('PEXPIREAT', KEYS[6], ends)
  local many = redis.call('ZCARD', KEYS[6]) - tonumber(ARGV[11])
  if many <= 0 then return end
  for _, open in ipairs(redis.call('ZRANGE', KEYS[6], '0', string.format('%.0f', many - 1))) do
    redis.call('ZREM', KEYS[6], open)
  end
end
local first = redis.call('GET', KEYS[2])
if first and not redis.call('HGET', KEYS[7], first) then
  open(first)
  if redis.call('HLEN', KEYS[3]) > 2 * tonumber(ARGV[2]) then redis.call('UNLINK', KEYS[3]) end
  local again = tonumber(redis.call('HGET', KEYS[3], first) or '0') + 1
  redis.call('HSET', KEYS[3], first, string.format('%.0f', again))
  return {0, first}
end
local by, bound = 'MAXLEN', ARGV[2]
if tonumber(time[2]) % 2 == 0 then by, bound = 'MINID', string.format('%.0f', now - tonumber(ARGV[3])) end
local id = redis.call('XADD', KEYS[1], by, '~', bound, '*', 'f', ARGV[1])
redis.call('SET', KEYS[2], id, 'PX', ARGV[4])
open(id)
local answer, most_alerts, kept = {1, id}, tonumber(ARGV[5]), string.format('%.0f', now + tonumber(ARGV[6]))
local function put(queue, alert, text, due)
  if redis.call('ZCARD', queue) >= most_alerts then
    for _, old in ipairs(redis.call('ZRANGE', queue, '0', '99')) do
      if not redis.call('HGET', KEYS[4], old) then redis.call('ZREM', queue, old) end
    end
    if redis.call('ZCARD', queue) >= most_alerts then return false end
  end
  redis.call('HSET', KEYS[4], alert, text)
  redis.call('ZADD', queue, string.format('%.0f', due), alert)
  redis.call('PEXPIREAT', KEYS[4], kept)
  redis.call('PEXPIREAT', queue, kept)
  return true
end
for at = 1, (#KEYS - 7) / 2 do
  local queue, counter, first = KEYS[6 + 2 * at], KEYS[7 + 2 * at], 12 + 6 * (at - 1)
  local text, name, period, most = ARGV[first], ARGV[first + 1], tonumber(ARGV[first + 2]), tonumber(ARGV[first + 3])
  local fate = 'put'
  if most > 0 then
    local count = tonumber(redis.call('GET', counter) or '0') + 1
    if count == 1 then
      redis.call('SET', counter, '1', 'PX', ARGV[first + 4])
    else
      redis.call('SET', counter, string.format('%.0f', count), 'KEEPTTL')
    end
    if count > most then
      period = tonumber(ARGV[first + 5])
      if period == 0 then fate = 'limited' end
    end
  end
  if fate == 'put' and period > 0 then
    local ends = (math.floor(now / period) + 1) * period
    local alert = string.format('%.0f', ends) .. '-d_' .. string.format('%.0f', period / 1000) .. '_' .. name
    local gathered = redis.call('HGET', KEYS[5], alert)
    fate = 'gathered'
    if gathered then
      gathered = cjson.decode(gathered)
    elseif put(queue, alert, text, ends) then
      gathered = { count = 0, kinds = {}, ids = {} }
    else
      fate = 'dropped'
    end
    if gathered then
      gathered.count = gathered.count + 1
      gathered.kinds[ARGV[8]] = (gathered.kinds[ARGV[8]] or 0) + 1
      if #gathered.ids < tonumber(ARGV[7]) then gathered.ids[#gathered.ids + 1] = id end
      redis.call('HSET', KEYS[5], alert, cjson.encode(gathered))
      redis.call('PEXPIREAT', KEYS[5], kept)
    end
  elseif fate == 'put' and not put(queue, id .. '_' .. (at - 1), text, now) then
    fate = 'dropped'
  end
  answer[#answer + 1] = fate
end
return answer
";

/// Notes what is said of a finding. Keys: the stream, the notes, what is open of sessions. Arguments: its name, the note, how many notes there may
/// be. Answers 1 if there is such a finding, -1 where there are too many notes.
const JUDGE: &str = r"#!lua
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
if not redis.call('HGET', KEYS[2], ARGV[1]) and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local by = ':' .. ARGV[1]
for _, open in ipairs(redis.call('ZRANGE', KEYS[3], '0', '-1')) do
  if string.sub(open, -#by) == by then redis.call('ZREM', KEYS[3], open) end
end
return 1
";

/// What is open of sessions. Key: that.
const OPEN: &str = r"#!lua flags=no-writes
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZRANGE', KEYS[1], '(' .. string.format('%.0f', now), '+inf', 'BYSCORE')
";

#[async_trait]
impl FindingStore for RedisStore {
    async fn keep(&self, finding: ToKeep<'_>) -> StoreResult<Kept> {
        let (names, postings) = (self.keys(), finding.postings);
        let mut keys = vec![
            names.findings(),
            names.same_finding(finding.dedupe),
            names.findings_again(),
            names.alerts(),
            names.alerts_gathered(),
            names.open_risks(),
            names.finding_notes(),
        ];
        for posting in postings {
            let limit = posting.limit.as_ref().map_or("", |limit| limit.name.as_str());
            keys.extend([names.alert_queue(&posting.target.queue), names.alert_count(limit)]);
        }
        let mut command = eval(KEEP, &keys);
        command.arg(finding.record.encode()).arg(MOST_FINDINGS).arg(millis(FINDINGS_KEPT)).arg(millis(finding.repeat));
        // Longer than any waits, so that what is forgotten is counted.
        command.arg(MOST_ALERTS).arg(millis(2 * ALERTS_KEPT)).arg(MOST_LISTED).arg(kind_of(finding.record));
        let risk = finding
            .risk
            .map_or_else(String::new, |Risk { session, severity }| format!("{session}:{}", severity.as_str()));
        command.arg(risk).arg(millis(OPEN_FOR)).arg(MOST_OPEN);
        for Posting { target, gathered, limit } in postings {
            command.arg(target.encode()).arg(target.short()).arg(gathered.map_or(0, millis));
            let most = limit.as_ref().map_or(0, |limit| limit.most);
            let within = limit.as_ref().map_or(0, |limit| millis(limit.within));
            let beyond = limit.as_ref().and_then(|limit| limit.beyond).map_or(0, millis);
            command.arg(most).arg(within).arg(beyond);
        }
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.careful.ask(&pipeline).await?)?;
            let Value::Array(parts) = answer else { return Err(unexpected("a finding's name", &answer)) };
            let mut parts = parts.into_iter();
            let mut next = || parts.next().unwrap_or(Value::Nil);
            let (is_new, id) = (number(&next())? == 1, name(next())?);
            if !is_new {
                // The first time may have come to an end after it was kept, and before that.
                if finding.has_failed {
                    self.note_tenant(&lanes, finding.record, id).await?;
                }
                return Ok(Kept::Again(id));
            }
            let fates: Vec<Fate> = parts.map(fate).collect::<Result<_, _>>()?;
            self.note_tenant(&lanes, finding.record, id).await?;
            Ok(Kept::New { id, fates })
        };
        self.link.call("finding_keep", CALL_TIMEOUT, work).await
    }

    async fn findings(&self, position: Option<FindingId>, limit: usize) -> StoreResult<Vec<KeptFinding>> {
        let Some(end) = before(position) else { return Ok(Vec::new()) };
        let work =
            |lanes: Arc<Lanes>| async move { self.read_findings(&lanes.bulk, &[(end, "-".to_owned())], limit).await };
        self.link.call("findings", CALL_TIMEOUT, work).await
    }

    async fn findings_of(&self, of: &FindingsOf, position: Option<FindingId>, limit: usize) -> StoreResult<OfTenant> {
        self.findings_of_tenant(of, position, limit).await
    }

    async fn finding(&self, id: FindingId) -> StoreResult<Option<KeptFinding>> {
        let id = id.to_string();
        let work = |lanes: Arc<Lanes>| async move { self.read_findings(&lanes.quick, &[(id.clone(), id)], 1).await };
        Ok(self.link.call("findings", CALL_TIMEOUT, work).await?.pop())
    }

    async fn open_risks(&self) -> StoreResult<Vec<Risk>> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(eval(OPEN, &[self.keys().open_risks()]));
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.quick.ask(&pipeline).await?)?;
            let Value::Array(open) = answer else { return Err(unexpected("what is open", &answer)) };
            let mut risks = Vec::with_capacity(open.len());
            for one in open {
                risks.extend(text(one)?.as_deref().and_then(risk));
            }
            Ok(risks)
        };
        self.link.call("finding_risks", CALL_TIMEOUT, work).await
    }

    async fn judge(&self, id: FindingId, note: &FindingNote) -> StoreResult<bool> {
        let keys = self.keys();
        let mut command = eval(JUDGE, &[keys.findings(), keys.finding_notes(), keys.open_risks()]);
        let note = serde_json::to_string(note).unwrap_or_default();
        command.arg(id.to_string()).arg(note).arg(2 * MOST_FINDINGS);
        let work = |lanes: Arc<Lanes>| async move {
            match lanes.careful.ask_number(command).await? {
                -1 => Err(Fault::garbled("there are too many notes on findings")),
                there => Ok(there == 1),
            }
        };
        self.link.call("finding_judge", CALL_TIMEOUT, work).await
    }
}

impl RedisStore {
    /// Of each stretch of the stream, from its end to its beginning, so many.
    pub(super) async fn read_findings(
        &self,
        lane: &Lane,
        stretches: &[(String, String)],
        limit: usize,
    ) -> Result<Vec<KeptFinding>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for (end, begin) in stretches {
            pipeline.cmd("XREVRANGE").arg(self.keys().findings()).arg(end).arg(begin).arg("COUNT").arg(limit);
        }
        let mut answers = lane.ask(&pipeline).await?.into_iter();
        let oldest = time(answers.next().unwrap_or(Value::Nil))?.before(FINDINGS_KEPT);
        let mut list = Vec::new();
        for entries in answers {
            let Value::Array(mut entries) = entries else { return Err(unexpected("findings", &entries)) };
            list.append(&mut entries);
        }
        let mut findings = Vec::with_capacity(list.len());
        for entry in list {
            let Value::Array(entry) = entry else { return Err(unexpected("a finding", &entry)) };
            let [id, fields] = exactly(entry)?;
            let id = name(id)?;
            let Value::Array(fields) = fields else { return Err(unexpected("a finding's fields", &fields)) };
            let record = fields.into_iter().nth(1).map(text).transpose()?.flatten();
            let record = record.as_deref().and_then(FindingRecord::decode);
            findings.push(KeptFinding { id, record, repeats: 0, note: None });
        }
        findings.retain(|finding| finding.found() >= oldest);
        if findings.is_empty() {
            return Ok(findings);
        }
        let mut pipeline = redis::pipe();
        for finding in &findings {
            let id = finding.id.to_string();
            pipeline.cmd("HGET").arg(self.keys().findings_again()).arg(&id);
            pipeline.cmd("HGET").arg(self.keys().finding_notes()).arg(&id);
        }
        let mut beside = lane.ask(&pipeline).await?.into_iter();
        for finding in &mut findings {
            let mut next = || text(beside.next().unwrap_or(Value::Nil));
            let (again, note) = (next()?, next()?);
            let again = again.and_then(|again| std::str::from_utf8(&again).ok()?.parse().ok());
            finding.repeats = again.unwrap_or_default();
            finding.note = note.and_then(|note| serde_json::from_slice(&note).ok());
        }
        Ok(findings)
    }
}

/// The end of a stretch of a stream that is before this. `None`: nothing is, and Redis takes such an end for a mistake.
pub(super) fn before(position: Option<FindingId>) -> Option<String> {
    match position {
        None => Some(String::from("+")),
        Some(FindingId { millis: 0, count: 0 }) => None,
        Some(position) => Some(format!("({position}")),
    }
}

fn name(value: Value) -> Result<FindingId, Fault> {
    let id = text(value)?.and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok());
    id.ok_or_else(|| Fault::garbled("a finding without a name"))
}

/// What another version wrote is none.
fn risk(open: &[u8]) -> Option<Risk> {
    let mut parts = std::str::from_utf8(open).ok()?.split(':');
    let (session, severity) = (SessionId::parse(parts.next()?.as_bytes())?, Severity::parse(parts.next()?)?);
    Some(Risk { session, severity })
}

fn fate(value: Value) -> Result<Fate, Fault> {
    match text(value)?.as_deref() {
        Some(b"put") => Ok(Fate::Put),
        Some(b"gathered") => Ok(Fate::Gathered),
        Some(b"limited") => Ok(Fate::Limited),
        Some(b"dropped") => Ok(Fate::Dropped),
        _ => Err(Fault::garbled("an unknown fate of a posting")),
    }
}
