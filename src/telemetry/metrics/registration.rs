//! How a metric gets its name.

use prometheus_client::registry::{Metric, Registry};

/// The registry, while metrics are added to it.
pub(super) struct Registration(pub(super) Registry);

impl Registration {
    /// Registers a metric and keeps a handle. A counter is exposed with `_total` behind its name.
    pub(super) fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}
