//! What a store keeps of what front ends report: the newest of each tenant, for operators to look at. Nothing is decided by it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::StoreResult;
use super::monitor::FindingId;
use crate::session::TenantId;

/// About how many are kept of a tenant: of more, the oldest go.
pub const MOST_ACTIVITIES: usize = 1000;
/// For how long each is kept, in seconds; none is shown that is older.
pub const ACTIVITIES_KEPT_SECONDS: u64 = 7 * 86_400;

/// Something that a front end reports. Address, user agent and time are the gateway's own; the rest is its client's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// The session that it was reported in.
    pub session: String,
    /// Its user.
    pub user: String,
    /// The kind of that user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_kind: Option<String>,
    /// When it came, by the gateway's clock, in µs.
    pub at: u64,
    /// The client's address.
    pub address: String,
    /// A few words about the client's program.
    pub agent: String,
    /// What is said to have happened.
    pub action: String,
    /// What else is said of it, as JSON; `None`: nothing, or more than is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
}

/// One as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptActivity {
    /// Its name: when it was kept, and which of that moment's it is.
    pub id: FindingId,
    /// What was reported. `None`: it cannot be read; it may be another version's.
    pub activity: Option<Activity>,
}

/// Keeps them.
#[async_trait]
pub trait ActivityStore: Send + Sync + 'static {
    /// Keeps some of a tenant, in their order.
    async fn keep_activities(&self, tenant: &TenantId, activities: &[Activity]) -> StoreResult<()>;

    /// Those of a tenant, the newest first; those before `position` alone.
    async fn activities(
        &self,
        tenant: &TenantId,
        position: Option<FindingId>,
        limit: usize,
    ) -> StoreResult<Vec<KeptActivity>>;
}
