//! What was found, kept for all gateways: a stream, and beside it how often each was found again and what was said of it.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::monitor::{FINDINGS_KEPT, FindingId, FindingStore, Kept, KeptFinding, MOST_FINDINGS, REPEAT};
use super::answers::{exactly, time};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, number, text, unexpected};
use super::lane::Lanes;
use super::store::RedisStore;
use crate::monitor::{FindingNote, FindingRecord};

/// Keeps a finding, unless the same one was kept a while ago. Keys: the stream, what tells the same (or nothing), how often
/// each was found again. Arguments: the finding, how many are kept, for how long (ms), and for how long the same counts on
/// the first (ms). Answers 1 and its name; 0 and that of the first.
///
/// A stream is trimmed by length or by age, not by both at once.
const KEEP: &str = r"#!lua
local first = redis.call('GET', KEYS[2])
if first then
  if redis.call('HLEN', KEYS[3]) > 2 * tonumber(ARGV[2]) then redis.call('UNLINK', KEYS[3]) end
  local again = tonumber(redis.call('HGET', KEYS[3], first) or '0') + 1
  redis.call('HSET', KEYS[3], first, string.format('%.0f', again))
  return {0, first}
end
local time = redis.call('TIME')
local oldest = string.format('%.0f', tonumber(time[1]) * 1000 - tonumber(ARGV[3]))
local by, bound = 'MAXLEN', ARGV[2]
if tonumber(time[2]) % 2 == 0 then by, bound = 'MINID', oldest end
local id = redis.call('XADD', KEYS[1], by, '~', bound, '*', 'f', ARGV[1])
redis.call('SET', KEYS[2], id, 'PX', ARGV[4])
return {1, id}
";

/// Notes what is said of a finding. Keys: the stream, the notes. Arguments: its name, the note, how many notes there may
/// be. Answers 1 if there is such a finding, -1 where there are too many notes.
const JUDGE: &str = r"#!lua
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return 0 end
if not redis.call('HGET', KEYS[2], ARGV[1]) and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then return -1 end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
";

#[async_trait]
impl FindingStore for RedisStore {
    async fn keep(&self, record: &FindingRecord, dedupe: &str) -> StoreResult<Kept> {
        let keys = [self.keys().findings(), self.keys().same_finding(dedupe), self.keys().findings_again()];
        let mut command = eval(KEEP, &keys);
        command.arg(record.encode()).arg(MOST_FINDINGS).arg(millis(FINDINGS_KEPT)).arg(millis(REPEAT));
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let work = |lanes: Arc<Lanes>| async move {
            let [answer] = exactly(lanes.careful.ask(&pipeline).await?)?;
            let Value::Array(parts) = answer else { return Err(unexpected("a finding's name", &answer)) };
            let [new, id] = exactly(parts)?;
            let id = name(id)?;
            Ok(if number(&new)? == 1 { Kept::New(id) } else { Kept::Again(id) })
        };
        self.link.call("finding_keep", CALL_TIMEOUT, work).await
    }

    async fn findings(&self, position: Option<FindingId>, limit: usize) -> StoreResult<Vec<KeptFinding>> {
        let end = position.map_or_else(|| String::from("+"), |position| format!("({position}"));
        let work = |lanes: Arc<Lanes>| async move { self.read_findings(&lanes, &end, "-", limit).await };
        self.link.call("findings", CALL_TIMEOUT, work).await
    }

    async fn finding(&self, id: FindingId) -> StoreResult<Option<KeptFinding>> {
        let id = id.to_string();
        let work = |lanes: Arc<Lanes>| async move { self.read_findings(&lanes, &id, &id, 1).await };
        Ok(self.link.call("findings", CALL_TIMEOUT, work).await?.pop())
    }

    async fn judge(&self, id: FindingId, note: &FindingNote) -> StoreResult<bool> {
        let mut command = eval(JUDGE, &[self.keys().findings(), self.keys().finding_notes()]);
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
    async fn read_findings(
        &self,
        lanes: &Lanes,
        end: &str,
        start: &str,
        limit: usize,
    ) -> Result<Vec<KeptFinding>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("XREVRANGE").arg(self.keys().findings()).arg(end).arg(start).arg("COUNT").arg(limit);
        let [now, entries] = exactly(lanes.quick.ask(&pipeline).await?)?;
        let oldest = time(now)?.before(FINDINGS_KEPT);
        let Value::Array(list) = entries else { return Err(unexpected("findings", &entries)) };
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
        let mut beside = lanes.quick.ask(&pipeline).await?.into_iter();
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

fn name(value: Value) -> Result<FindingId, Fault> {
    let id = text(value)?.and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok());
    id.ok_or_else(|| Fault::garbled("a finding without a name"))
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
