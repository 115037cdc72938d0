//! What the operator's side works with.

use std::fmt;
use std::sync::Arc;

use super::console::SignIns;
use super::failures::Failures;
use crate::audit::{AuditLog, AuditQuery};
use crate::commons::Commons;
use crate::config::Config;
use crate::signed::Published;

/// What the operator's side asks of the traffic side, which it does not know.
pub trait TrafficSide: Send + Sync + 'static {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;
    /// The keys by which backends check what is signed; `None` where none are published.
    fn published_keys(&self) -> Option<Published>;
}

/// What the operator's listener is made of.
pub struct AdminServices {
    /// What the clients' side works with, too.
    pub commons: Commons,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// What is in the audit logs.
    pub events: AuditQuery,
    /// The traffic side.
    pub traffic: Arc<dyn TrafficSide>,
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
    /// Who is signed in at the console.
    pub(super) sign_ins: Arc<SignIns>,
}

impl AdminState {
    pub(super) fn new(services: AdminServices) -> Self {
        Self { services: Arc::new(services), failures: Arc::default(), sign_ins: Arc::default() }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> Arc<Config> {
        self.services.traffic.config()
    }
}
