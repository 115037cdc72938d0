//! The audit logs' part of Redis: where each chain stands, and the stream of all gateways' events.
//!
//! Anchors are written even on a full server; the stream is not: the files have every event.

use std::sync::Arc;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::audit::{Anchor, Anchored, AuditAnchors, AuditStream, SharedLine, StreamEntry, StreamPosition};
use super::answers::exactly;
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text, unexpected};
use super::lane::{Lane, Lanes};
use super::store::RedisStore;

/// About how many events the stream holds.
pub(super) const STREAM_LENGTH: usize = 100_000;

/// Keeps where a chain stands. Keys: anchors, last shared lines. Arguments: the chain, its anchor. Answers what was kept
/// already, where that is later or another line of the same number.
///
/// Beyond 1,000 chains the oldest hundred are forgotten.
const ANCHOR: &str = r"#!lua flags=allow-oom
local function parts(text) return string.match(text, '^(%d+) (%S+) (%d+) ') end
local known = redis.call('HGET', KEYS[1], ARGV[1])
if known then
  local seq, mac = parts(known)
  local new_seq, new_mac = parts(ARGV[2])
  if seq and (tonumber(seq) > tonumber(new_seq) or (tonumber(seq) == tonumber(new_seq) and mac ~= new_mac)) then
    return known
  end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('HLEN', KEYS[1]) > 1000 then
  local all, chains = redis.call('HGETALL', KEYS[1]), {}
  for at = 1, #all, 2 do
    local _, _, time = parts(all[at + 1])
    chains[#chains + 1] = { name = all[at], time = tonumber(time) or 0 }
  end
  table.sort(chains, function(one, other) return one.time < other.time end)
  for at = 1, 100 do
    redis.call('HDEL', KEYS[1], chains[at].name)
    redis.call('HDEL', KEYS[2], chains[at].name)
  end
end
return false
";

/// Adds lines to the stream. Keys: stream, last shared lines. Arguments: the stream's length, then chain, number and
/// line of each. Answers how many were added: one whose number is not above the chain's last is there already.
const APPEND: &str = r"#!lua
local added = 0
for at = 2, #ARGV, 3 do
  local last = tonumber(redis.call('HGET', KEYS[2], ARGV[at]) or '0') or 0
  if tonumber(ARGV[at + 1]) > last then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'l', ARGV[at + 2])
    redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
    added = added + 1
  end
end
return added
";

#[async_trait]
impl AuditAnchors for RedisStore {
    async fn anchor(&self, anchor: &Anchor) -> StoreResult<Anchored> {
        let mut command = eval(ANCHOR, &[self.keys().audit_anchors(), self.keys().audit_shared()]);
        command.arg(&anchor.instance).arg(anchor.encode());
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let work = |lanes: Arc<Lanes>| async move {
            let [known] = exactly(lanes.careful.ask(&pipeline).await?)?;
            match text(known)? {
                None => Ok(Anchored::Kept),
                Some(known) => decode(&anchor.instance, &known).map(Anchored::Contradicted),
            }
        };
        self.link.call("audit_anchor", CALL_TIMEOUT, work).await
    }

    async fn anchors(&self) -> StoreResult<Vec<Anchor>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(self.keys().audit_anchors());
        let work = |lanes: Arc<Lanes>| async move {
            let [all] = exactly(lanes.quick.ask(&pipeline).await?)?;
            let mut anchors = Vec::new();
            for (name, known) in pairs(all)? {
                let (name, known) = (text(name)?.unwrap_or_default(), text(known)?.unwrap_or_default());
                anchors.push(decode(&String::from_utf8_lossy(&name), &known)?);
            }
            Ok(anchors)
        };
        self.link.call("audit_anchors", CALL_TIMEOUT, work).await
    }
}

#[async_trait]
impl AuditStream for RedisStore {
    async fn append(&self, lines: &[SharedLine]) -> StoreResult<()> {
        let mut command = eval(APPEND, &[self.keys().audit_stream(), self.keys().audit_shared()]);
        command.arg(STREAM_LENGTH);
        for SharedLine { instance, seq, line } in lines {
            command.arg(instance).arg(*seq).arg(&line[..]);
        }
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask_number(command).await.map(drop) };
        self.link.call("audit_append", CALL_TIMEOUT, work).await
    }

    async fn after(&self, position: StreamPosition, count: usize) -> StoreResult<Vec<StreamEntry>> {
        let StreamPosition { millis, count: number } = position;
        let mut pipeline = redis::pipe();
        let range = pipeline.cmd("XRANGE").arg(self.keys().audit_stream());
        range.arg(format!("({millis}-{number}")).arg("+").arg("COUNT").arg(count);
        let work = |lanes: Arc<Lanes>| async move { entries(&lanes.quick, &pipeline).await };
        self.link.call("audit_read", CALL_TIMEOUT, work).await
    }

    async fn before(&self, position: Option<StreamPosition>, count: usize) -> StoreResult<Vec<StreamEntry>> {
        let end = position.map_or_else(|| String::from("+"), |at| format!("({}-{}", at.millis, at.count));
        let mut pipeline = redis::pipe();
        pipeline.cmd("XREVRANGE").arg(self.keys().audit_stream()).arg(end).arg("-").arg("COUNT").arg(count);
        let work = |lanes: Arc<Lanes>| async move { entries(&lanes.quick, &pipeline).await };
        self.link.call("audit_read", CALL_TIMEOUT, work).await
    }
}

fn decode(instance: &str, known: &[u8]) -> Result<Anchor, Fault> {
    let known = std::str::from_utf8(known).ok().and_then(|known| Anchor::decode(instance, known));
    known.ok_or_else(|| Fault::garbled("an audit anchor cannot be read"))
}

/// The answer of `HGETALL`, a list in RESP2 and a map in RESP3.
fn pairs(value: Value) -> Result<Vec<(Value, Value)>, Fault> {
    match value {
        Value::Map(pairs) => Ok(pairs),
        Value::Array(list) => {
            let mut list = list.into_iter();
            let mut pairs = Vec::new();
            while let (Some(name), Some(value)) = (list.next(), list.next()) {
                pairs.push((name, value));
            }
            Ok(pairs)
        }
        other => Err(unexpected("anchors", &other)),
    }
}

async fn entries(lane: &Lane, pipeline: &redis::Pipeline) -> Result<Vec<StreamEntry>, Fault> {
    let [value] = exactly(lane.ask(pipeline).await?)?;
    let Value::Array(list) = value else { return Err(unexpected("events", &value)) };
    let mut entries = Vec::with_capacity(list.len());
    for entry in list {
        let Value::Array(entry) = entry else { return Err(unexpected("an event", &entry)) };
        let [id, fields] = exactly(entry)?;
        let position = text(id)?.as_deref().and_then(position_of);
        let position = position.ok_or_else(|| Fault::garbled("an event without a place"))?;
        let Value::Array(fields) = fields else { return Err(unexpected("an event's fields", &fields)) };
        // One that somebody else added may have other fields: it is none of ours.
        let line = fields.into_iter().nth(1).map(text).transpose()?.flatten().unwrap_or_default();
        entries.push(StreamEntry { position, line });
    }
    Ok(entries)
}

fn position_of(id: &[u8]) -> Option<StreamPosition> {
    let (millis, count) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some(StreamPosition { millis: millis.parse().ok()?, count: count.parse().ok()? })
}
