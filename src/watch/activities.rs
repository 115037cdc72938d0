//! What front ends report of themselves: taken for granted by nobody, kept for operators to read. Nothing is decided by it,
//! nothing counts by it, and what there is too much of is dropped.

use std::time::Duration;

use super::Watch;
use crate::session::{SessionId, TenantId};
use crate::store::StoreResult;
use crate::store::activities::{Activity, KeptActivity};
use crate::store::monitor::FindingId;

/// Between two times that the store is handed some of what waits: often a little, for all at once holds up other requests.
pub const KEPT_EVERY: Duration = Duration::from_millis(20);

impl Watch {
    /// Whether a session may report something that stands for so many single reports.
    ///
    /// # Errors
    /// After how many seconds it may again, where it reported too much.
    pub fn may_report(&self, session: SessionId, weight: u32) -> Result<(), u64> {
        let now = self.0.services.clock.monotonic();
        self.0.reported.count(session, weight, now).map_err(|left| left.as_secs().max(1))
    }

    /// Whether a session may ask for something by the app's own pages, which is counted.
    ///
    /// # Errors
    /// After how many seconds it may again, where it asked for too much.
    pub fn may_ask(&self, session: SessionId, weight: u32) -> Result<(), u64> {
        let now = self.0.services.clock.monotonic();
        self.0.asked.count(session, weight, now).map_err(|left| left.as_secs().max(1))
    }

    /// Has what a front end reports wait for the store. What finds no room is dropped, and not even put together.
    pub fn reported(&self, tenant: &TenantId, activities: impl ExactSizeIterator<Item = Activity>) {
        let (count, room) = (activities.len(), self.0.reported.room());
        let missed = self.0.reported.put(tenant, activities.take(room).collect());
        self.drop_reported(count.saturating_sub(room) + missed);
    }

    /// What front ends of a tenant reported, the newest first.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn activities(
        &self,
        tenant: &TenantId,
        position: Option<FindingId>,
        limit: usize,
    ) -> StoreResult<Vec<KeptActivity>> {
        self.0.services.activities.activities(tenant, position, limit).await
    }

    /// Hands the store some of what waits. What it does not take is dropped. Answers whether there was anything.
    pub async fn keep_reported(&self) -> bool {
        let some = self.0.reported.take();
        let is_any = !some.is_empty();
        for (tenant, activities) in some {
            if let Err(error) = self.0.services.activities.keep_activities(&tenant, &activities).await {
                tracing::debug!(%error, "what front ends reported is dropped");
                self.drop_reported(activities.len());
            }
        }
        is_any
    }

    fn drop_reported(&self, count: usize) {
        self.0.services.metrics.monitor_dropped_many(u64::try_from(count).unwrap_or(u64::MAX));
    }
}
