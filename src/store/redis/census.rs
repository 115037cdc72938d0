//! How many ended sessions and denied tokens the server keeps. No index has them, which would be written with each end: the
//! names of all keys are gone over, slowly.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::sleep;

use super::super::StoreResult;
use super::answers::exactly;
use super::connection::CALL_TIMEOUT;
use super::fault::{Fault, text, unexpected};
use super::lane::{Lane, Lanes};
use super::store::RedisStore;

/// Names that are gone over at once, which takes the server some tens of microseconds; and the pause between.
const STEP: u32 = 500;
const PAUSE: Duration = Duration::from_millis(100);
/// Where it begins, and where it ends.
const BEGIN: &[u8] = b"0";

/// Where to go on, and how many there were.
type Step = (Vec<u8>, usize);

impl RedisStore {
    /// Counts them. `None`: the user may not ask for names.
    pub(super) async fn count_ended_slowly(&self) -> StoreResult<Option<u64>> {
        let all = |lanes: Arc<Lanes>| async move { lanes.bulk.each() };
        let mut count = 0_u64;
        for lane in &self.link.call("count_ended", CALL_TIMEOUT, all).await? {
            let mut cursor = BEGIN.to_vec();
            loop {
                let from = cursor;
                let work = |_: Arc<Lanes>| async move { self.scan_on(lane, &from).await };
                let step = self.link.call("count_ended", CALL_TIMEOUT, work).await?;
                let Some((next, found)) = step else { return Ok(None) };
                count = count.saturating_add(found as u64);
                if next == BEGIN {
                    break;
                }
                cursor = next;
                sleep(PAUSE).await;
            }
        }
        Ok(Some(count))
    }

    async fn scan_on(&self, lane: &Lane, from: &[u8]) -> Result<Option<Step>, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("SCAN").arg(from).arg("MATCH").arg(self.keys().of_ends()).arg("COUNT").arg(STEP);
        let answer = match lane.ask(&pipeline).await {
            Ok(answers) => exactly::<1>(answers)?,
            Err(fault) if fault.is_for_want_of_rights() => return Ok(None),
            Err(fault) => return Err(fault),
        };
        let [Value::Array(parts)] = answer else { return Err(Fault::garbled("SCAN is not a list")) };
        let [next, names] = exactly(parts)?;
        let next = text(next)?.ok_or_else(|| Fault::garbled("SCAN says not where to go on"))?;
        match names {
            Value::Array(names) => Ok(Some((next, names.len()))),
            other => Err(unexpected("a list of names", &other)),
        }
    }
}
