//! What a store does for reports: it counts by day, for all gateways together.
//!
//! A count that the store took and whose answer was lost is counted twice, and what a gateway had not told when it was killed
//! (some seconds) not at all: reports say about how much there was.

use async_trait::async_trait;

use super::StoreResult;
use crate::monitor::{CountOf, Counts, Day, DayCounts};

/// For how many days counts are kept.
pub const COUNTS_KEPT_DAYS: u32 = 400;
/// How many users of a tenant and day, or of a day, are counted apart; what is found about more of them is counted, and not
/// about whom.
pub const MOST_USERS_A_DAY: usize = 500;

/// Counts for reports.
#[async_trait]
pub trait ReportStore: Send + Sync + 'static {
    /// Adds to the counts of some days.
    async fn add_counts(&self, counts: &[DayCounts]) -> StoreResult<()>;

    /// What was counted on each of these days, both included, in their order. What another version counted is left out.
    async fn counts(&self, of: &CountOf, first: Day, last: Day) -> StoreResult<Vec<(Day, Counts)>>;
}
