//! Which findings are a tenant's: a stream of their names, with whose they are, so that a tenant's few are not looked for among
//! everybody's.

use std::sync::Arc;

use redis::Value;

use super::super::StoreResult;
use super::super::monitor::{FINDINGS_KEPT, FindingId, FindingsOf, KeptFinding, MOST_FINDINGS_OF_A_TENANT, OfTenant};
use super::activities::stream_entry;
use super::alerts::millis;
use super::answers::exactly;
use super::commands::eval;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, unexpected};
use super::findings::before;
use super::lane::Lanes;
use super::store::RedisStore;
use crate::monitor::FindingRecord;
use crate::session::UserId;

/// Notes one. Key: the stream. Arguments: how many are noted, for how long after the last (ms), the finding's name and whose
/// it is.
const NOTE: &str = r"#!lua
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'f', ARGV[3])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])))
return 1
";
/// Names that are looked at for one page.
const LOOKED_AT: usize = 1000;

impl RedisStore {
    /// Notes that a finding is its tenant's, where it has one. Beside the finding itself: it may be lost with this process.
    pub(super) async fn note_tenant(&self, lanes: &Lanes, record: &FindingRecord, id: FindingId) -> Result<(), Fault> {
        let Some((tenant, user)) = record.whose() else { return Ok(()) };
        let mut note = eval(NOTE, &[self.keys().findings_of(&tenant)]);
        note.arg(MOST_FINDINGS_OF_A_TENANT).arg(millis(FINDINGS_KEPT)).arg(format!("{id} {}", user.kept()));
        let mut pipeline = redis::pipe();
        pipeline.add_command(note);
        lanes.careful.ask(&pipeline).await.map(drop)
    }

    /// A page of a tenant's.
    pub(super) async fn findings_of_tenant(
        &self,
        of: &FindingsOf,
        position: Option<FindingId>,
        limit: usize,
    ) -> StoreResult<OfTenant> {
        let work = |lanes: Arc<Lanes>| async move { self.page_of_tenant(&lanes, of, position, limit).await };
        self.link.call("findings_of", CALL_TIMEOUT, work).await
    }

    async fn page_of_tenant(
        &self,
        lanes: &Lanes,
        of: &FindingsOf,
        position: Option<FindingId>,
        limit: usize,
    ) -> Result<OfTenant, Fault> {
        let Some(end) = before(position) else { return Ok(OfTenant { findings: Vec::new(), next: None }) };
        let key = self.keys().findings_of(&of.tenant);
        let mut pipeline = redis::pipe();
        pipeline.cmd("XREVRANGE").arg(key).arg(end).arg("-").arg("COUNT").arg(LOOKED_AT);
        let [entries] = exactly(lanes.bulk.ask(&pipeline).await?)?;
        let Value::Array(entries) = entries else { return Err(unexpected("names of findings", &entries)) };
        let is_last = entries.len() < LOOKED_AT;
        let (mut wanted, mut next) = (Vec::new(), None);
        let mut left = false;
        for entry in entries {
            let (place, named) = stream_entry(entry)?;
            if wanted.len() == limit {
                left = true;
                break;
            }
            next = Some(place);
            wanted.extend(named.as_deref().and_then(|named| read(named, of)));
        }
        let next = next.filter(|_| left || !is_last);
        Ok(OfTenant { findings: self.findings_by_name(lanes, &wanted).await?, next })
    }

    /// Those of some findings that are kept, in the same order.
    async fn findings_by_name(&self, lanes: &Lanes, names: &[FindingId]) -> Result<Vec<KeptFinding>, Fault> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let stretches: Vec<_> = names.iter().map(|name| (name.to_string(), name.to_string())).collect();
        self.read_findings(&lanes.bulk, &stretches, 1).await
    }
}

/// The name in an entry, if it is of whom is wanted.
fn read(named: &[u8], of: &FindingsOf) -> Option<FindingId> {
    let (name, user) = std::str::from_utf8(named).ok()?.split_once(' ')?;
    let is_wanted = of.user.as_ref().is_none_or(|wanted: &UserId| wanted.kept() == user);
    name.parse().ok().filter(|_| is_wanted)
}
