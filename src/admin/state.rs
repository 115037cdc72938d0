//! What the operator's side works with.

use std::fmt;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::failures::Failures;
use crate::audit::{AuditLog, AuditQuery};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::entropy::SharedEntropy;
use crate::health::Readiness;
use crate::sessions::Sessions;
use crate::store::SharedStore;
use crate::telemetry::Metrics;

/// What the operator's side asks of the traffic side, which it does not know.
pub trait TrafficSide: Send + Sync + 'static {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;
}

/// What the operator's listener is made of.
pub struct AdminServices {
    /// Whether the gateway is ready, and why not.
    pub readiness: Arc<Readiness>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where sessions live.
    pub store: SharedStore,
    /// Where they are made and ended.
    pub sessions: Sessions,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// What is in the audit logs.
    pub events: AuditQuery,
    /// The machine's clocks.
    pub clock: SharedClock,
    /// The machine's randomness.
    pub entropy: SharedEntropy,
    /// The traffic side.
    pub traffic: Arc<dyn TrafficSide>,
    /// The changes that go on when their caller hangs up; the drain waits for them.
    pub tasks: TaskTracker,
}

impl fmt::Debug for AdminServices {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AdminServices").finish_non_exhaustive()
    }
}

/// What every call has at hand.
#[derive(Clone)]
pub(super) struct AdminState {
    pub(super) services: Arc<AdminServices>,
    pub(super) failures: Arc<Failures>,
}

impl AdminState {
    pub(super) fn new(services: AdminServices) -> Self {
        Self { services: Arc::new(services), failures: Arc::default() }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.services.traffic.config()
    }
}
