//! What the two sides that serve, the clients' and the operators', work with in common.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::health::Readiness;
use crate::maintenance::MaintenanceMode;
use crate::sessions::Sessions;
use crate::store::SharedStore;
use crate::store::membership::MembershipStore;
use crate::telemetry::Metrics;
use crate::watch::Watch;

/// It. A copy is the same.
#[derive(Clone)]
pub struct Commons {
    /// Where sessions live.
    pub store: SharedStore,
    /// Where they are made and ended.
    pub sessions: Sessions,
    /// Whether the site is being worked on.
    pub maintenance: Arc<MaintenanceMode>,
    /// Who paid and has no tenant, and who asks the backend about whom.
    pub memberships: Arc<dyn MembershipStore>,
    /// What notices, and refuses logins.
    pub watch: Watch,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway is ready, and why not.
    pub readiness: Arc<Readiness>,
    /// The machine's clocks.
    pub clock: SharedClock,
    /// The machine's randomness.
    pub entropy: SharedEntropy,
    /// What goes on when who asked for it hangs up; the drain waits for it.
    pub tasks: TaskTracker,
}
