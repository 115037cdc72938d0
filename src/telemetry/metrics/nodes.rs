//! The store's servers: which are used, how old the proof is that the cache relies on, and how it stands with a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::labels::KindLabel;
use super::registration::Registration;
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
    leased: Arc<Mutex<BTreeMap<String, Monotonic>>>,
    uncovered: Gauge,
    redirects: Family<KindLabel, Counter>,
}

impl Nodes {
    pub(super) fn shown_in(metrics: &mut Registration) -> Self {
        Self {
            up: metrics.add("store_node_up", "Whether a server of the store is used: 1 or 0", Family::default()),
            lease_age: metrics.add(
                "cache_lease_age_seconds",
                "Age of the last proof that the cache heard all changes of this server",
                Family::default(),
            ),
            leased: Arc::default(),
            uncovered: metrics.add(
                "store_slots_uncovered",
                "Slots of a cluster that no master serves",
                Gauge::default(),
            ),
            redirects: metrics.add(
                "store_redirects",
                "Commands that a master of a cluster sent elsewhere, or put off, by kind",
                Family::default(),
            ),
        }
    }

    /// So many slots of a cluster are served by no master.
    pub(super) fn uncovered(&self, count: usize) {
        self.uncovered.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// A master of a cluster sent a command elsewhere, or put it off.
    pub(super) fn redirected(&self, kind: &'static str) {
        self.redirects.get_or_create(&KindLabel { kind }).inc();
    }

    /// One of several is used, or not any more; `None`: it is none of them now.
    pub(super) fn one_of(&self, node: &str, up: Option<bool>) {
        let label = NodeLabel { node: node.to_owned() };
        match up {
            Some(up) => drop(self.up.get_or_create(&label).set(i64::from(up))),
            None => {
                self.up.remove(&label);
                self.lease_age.remove(&label);
                self.leased.lock().remove(node);
            }
        }
    }

    /// One is used, or not any more. With the next one it is shown no longer.
    pub(super) fn seen(&self, node: &str, up: bool) {
        let label = NodeLabel { node: node.to_owned() };
        if up {
            self.up.clear();
            self.lease_age.clear();
            self.leased.lock().clear();
        }
        self.up.get_or_create(&label).set(i64::from(up));
    }

    /// The cache relies on a proof of that age of this one.
    pub(super) fn leased(&self, node: &str, age: Duration) {
        let since = SystemClock.monotonic().before(age);
        self.leased.lock().insert(node.to_owned(), since);
    }

    /// Brings the ages up to now, for who reads them.
    pub(super) fn refresh(&self) {
        for (node, since) in &*self.leased.lock() {
            let label = NodeLabel { node: node.clone() };
            self.lease_age.get_or_create(&label).set(SystemClock.monotonic().since(*since).as_secs_f64());
        }
    }
}
