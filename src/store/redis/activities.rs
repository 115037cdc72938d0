//! What front ends report: a short stream of each tenant.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::super::StoreResult;
use super::super::activities::{ACTIVITIES_KEPT_SECONDS, Activity, ActivityStore, KeptActivity, MOST_ACTIVITIES};
use super::super::monitor::FindingId;
use super::answers::{exactly, time};
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text, unexpected};
use super::findings::before;
use super::lane::Lanes;
use super::store::RedisStore;
use crate::session::TenantId;

/// Keeps some. Key: the stream. Arguments: how many are kept, for how long (ms), then each. A stream is trimmed by length or by
/// age, not by both at once: those in turn.
const KEEP: &str = r"#!lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local oldest = string.format('%.0f', now - tonumber(ARGV[2]))
for at = 3, #ARGV do
  if at == 3 and (#ARGV > 3 or tonumber(time[2]) % 2 == 0) then
    redis.call('XADD', KEYS[1], 'MINID', oldest, '*', 'a', ARGV[at])
  else
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'a', ARGV[at])
  end
end
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])))
return 1
";

#[async_trait]
impl ActivityStore for RedisStore {
    async fn keep_activities(&self, tenant: &TenantId, activities: &[Activity]) -> StoreResult<()> {
        let mut keep = eval(KEEP, &[self.keys().activities(tenant)]);
        keep.arg(MOST_ACTIVITIES).arg(ACTIVITIES_KEPT_SECONDS * 1000);
        for activity in activities {
            // Texts and numbers: it cannot fail.
            keep.arg(serde_json::to_string(activity).unwrap_or_default());
        }
        let mut pipeline = redis::pipe();
        pipeline.add_command(keep);
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask(&pipeline).await.map(drop) };
        self.link.call("activities_keep", CALL_TIMEOUT, work).await
    }

    async fn activities(
        &self,
        tenant: &TenantId,
        position: Option<FindingId>,
        limit: usize,
    ) -> StoreResult<Vec<KeptActivity>> {
        let Some(end) = before(position) else { return Ok(Vec::new()) };
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        pipeline.cmd("XREVRANGE").arg(self.keys().activities(tenant)).arg(end).arg("-").arg("COUNT").arg(limit);
        let work = |lanes: Arc<Lanes>| async move {
            let [now, entries] = exactly(lanes.bulk.ask(&pipeline).await?)?;
            let oldest = time(now)?.before(Duration::from_secs(ACTIVITIES_KEPT_SECONDS)).as_micros() / 1000;
            let Value::Array(entries) = entries else { return Err(unexpected("activities", &entries)) };
            let mut activities = entries.into_iter().map(kept).collect::<Result<Vec<_>, _>>()?;
            activities.retain(|kept| kept.id.millis >= oldest);
            Ok(activities)
        };
        self.link.call("activities", CALL_TIMEOUT, work).await
    }
}

fn kept(entry: Value) -> Result<KeptActivity, Fault> {
    let (id, value) = stream_entry(entry)?;
    let activity = value.as_deref().and_then(|text| serde_json::from_slice(text).ok());
    Ok(KeptActivity { id, activity })
}

/// An entry of a stream that has one field: its name and the field's value.
pub(super) fn stream_entry(entry: Value) -> Result<(FindingId, Option<Vec<u8>>), Fault> {
    let Value::Array(entry) = entry else { return Err(unexpected("an entry of a stream", &entry)) };
    let [id, fields] = exactly(entry)?;
    let id = text(id)?.and_then(|id| std::str::from_utf8(&id).ok()?.parse().ok());
    let id = id.ok_or_else(|| Fault::garbled("an entry of a stream without a name"))?;
    let Value::Array(fields) = fields else { return Err(unexpected("the fields of an entry", &fields)) };
    Ok((id, fields.into_iter().nth(1).map(text).transpose()?.flatten()))
}
