//! The store's servers: which one is used, and how old the proof is that the cache relies on.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::clock::{Clock as _, Monotonic, SystemClock};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct NodeLabel {
    pub(super) node: String,
}

/// A gauge of seconds.
pub(super) type Seconds = Gauge<f64, AtomicU64>;

/// The servers that were used since the last one that came up.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    pub(super) up: Family<NodeLabel, Gauge>,
    pub(super) lease_age: Family<NodeLabel, Seconds>,
    leased: Arc<Mutex<Option<(NodeLabel, Monotonic)>>>,
}

impl Nodes {
    pub(super) fn shown_in(up: Family<NodeLabel, Gauge>, lease_age: Family<NodeLabel, Seconds>) -> Self {
        Self { up, lease_age, leased: Arc::default() }
    }

    /// One is used, or not any more. With the next one it is shown no longer.
    pub(super) fn seen(&self, node: &str, up: bool) {
        let label = NodeLabel { node: node.to_owned() };
        if up {
            self.up.clear();
            self.lease_age.clear();
            *self.leased.lock() = None;
        }
        self.up.get_or_create(&label).set(i64::from(up));
    }

    /// The cache relies on a proof of that age of this one.
    pub(super) fn leased(&self, node: &str, age: Duration) {
        let since = SystemClock.monotonic().before(age);
        *self.leased.lock() = Some((NodeLabel { node: node.to_owned() }, since));
    }

    /// Brings the age up to now, for who reads it.
    pub(super) fn refresh(&self) {
        if let Some((label, since)) = &*self.leased.lock() {
            self.lease_age.get_or_create(label).set(SystemClock.monotonic().since(*since).as_secs_f64());
        }
    }
}
